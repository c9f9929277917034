"""The container's program, started as the image would start it: with a name, an authority, and nothing else."""

import asyncio
import hashlib
import hmac
import json
import os
import signal
import ssl
import subprocess
import sys
from urllib.request import Request, urlopen

import pytest
import trustme

from sytest_compat.complement.start import SHARED_SECRET
from tests.app.test_run import ROOT, free_port

NAME = "hs1"


@pytest.fixture
def authority(tmp_path):
    made = trustme.CA()
    folder = tmp_path / "ca"
    folder.mkdir()
    made.cert_pem.write_to_path(str(folder / "ca.crt"))
    made.private_key_pem.write_to_path(str(folder / "ca.key"))
    return made


def start(tmp_path, *more):
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return subprocess.Popen(
        [
            sys.executable, "-m", "sytest_compat.complement.start",
            "--data", str(tmp_path / "data"), "--ca", str(tmp_path / "ca"), *more,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**environment, "SERVER_NAME": NAME},
    )  # fmt: skip


def ask(port, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(f"http://127.0.0.1:{port}{path}", data, headers), timeout=10) as answer:
        return json.load(answer)


def register(port):
    """As Complement does it."""
    path = "/_synapse/admin/v1/register"
    nonce = ask(port, path)["nonce"]
    said = f"{nonce}\x00alice\x00complement\x00notadmin"
    mac = hmac.new(SHARED_SECRET.encode(), said.encode(), hashlib.sha1).hexdigest()
    body = {"nonce": nonce, "username": "alice", "password": "complement", "mac": mac, "admin": False}
    return ask(port, path, body)["user_id"]


async def certificate_fits(port, authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=NAME)
    writer.close()
    return True


async def test_a_container(tmp_path, authority):
    prepared = start(tmp_path, "--prepare")
    assert prepared.wait(60) == 0, prepared.communicate()[1]
    assert (tmp_path / "data").exists()
    clients, servers = free_port(), free_port()
    listen = ("--client", f"127.0.0.1:{clients}", "--server", f"127.0.0.1:{servers}")
    for turn in range(2):  # it is saved as an image, and started again
        process = start(tmp_path, *listen)
        try:
            ready = await asyncio.to_thread(process.stdout.readline)
            assert ready.startswith("ready "), process.communicate()[1]
            assert await certificate_fits(servers, authority)
            if turn == 0:
                assert await asyncio.to_thread(register, clients) == "@alice:hs1"
            login = {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": "alice"},
                "password": "complement",
            }
            made = await asyncio.to_thread(ask, clients, "/_matrix/client/v3/login", login)
            assert made["user_id"] == "@alice:hs1"
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 30) == 0
        finally:
            process.kill()
            process.communicate()
