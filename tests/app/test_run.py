"""`homeserver run` as operators know it: one line when it serves, a clean end, and a next start after any end."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parent.parent.parent


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextmanager
def command(*arguments):
    """A `homeserver` process, killed at the end if it still runs."""
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    process = subprocess.Popen(
        [sys.executable, "-c", "from homeserver.app.main import main; main()", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run(data, port, *more):
    return command(
        "run", "--server-name", f"localhost:{port}", "--listen", f"127.0.0.1:{port}", "--data", data, *more
    )


def versions(port):
    with urlopen(f"http://127.0.0.1:{port}/_matrix/client/versions", timeout=10) as response:
        return json.load(response)["versions"]


def postgres_processes(data):
    """Processes whose working directory lies in the data folder."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.readlink().is_relative_to(data):
                found.append(link.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_ready_then_a_clean_end(tmp_path, ending):
    port = free_port()
    with run(tmp_path, port) as server:
        assert server.stdout.readline() == f"ready http://127.0.0.1:{port} (server name localhost:{port})\n"
        assert "v1.11" in versions(port)
        assert postgres_processes(tmp_path)
        server.send_signal(ending)
        out, err = server.communicate(timeout=60)
        assert (server.returncode, out) == (0, ""), err
        assert "Traceback" not in err
    assert not postgres_processes(tmp_path)


def test_after_sigkill_the_next_start_just_works(tmp_path):
    port = free_port()
    for _ in range(3):
        with run(tmp_path, port) as server:
            assert server.stdout.readline().startswith("ready "), server.stderr.read()
            versions(port)
            server.kill()


def test_a_database_of_ones_own(tmp_path, pg_url):
    port = free_port()
    with run(tmp_path, port, "--database-url", pg_url) as server:
        assert server.stdout.readline().startswith("ready ")
        versions(port)
        assert not list(tmp_path.glob("pg*"))


def refusal(server):
    out, err = server.communicate(timeout=60)
    assert (server.returncode, out) == (1, "")
    assert "Traceback" not in err
    return err


def test_a_second_server_on_the_same_folder_is_refused(tmp_path, pg_url):
    port = free_port()
    with run(tmp_path, port, "--database-url", pg_url) as server:
        assert server.stdout.readline().startswith("ready ")
        with run(tmp_path, free_port(), "--database-url", pg_url) as second:
            assert "another server is running" in refusal(second)


def test_a_taken_port_is_told(tmp_path, pg_url):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with run(tmp_path, taken.getsockname()[1], "--database-url", pg_url) as server:
            assert "cannot listen on 127.0.0.1:" in refusal(server)


async def test_an_unfit_database_is_refused_with_the_remedy(tmp_path, postgres):
    url = await postgres.empty("TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    with run(tmp_path, free_port(), "--database-url", url) as server:
        assert "createdb --template=template0 --encoding=UTF8 --locale=C" in refusal(server)
    await postgres.drop(url)


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--server-name", "no name", "server.name"),
        ("--listen", "8008", "server.listen"),
        ("--config", "/x", "/x"),
    ],
)
def test_bad_options_are_told_in_words(tmp_path, option, value, told):
    with command("run", "--data", tmp_path, option, value) as server:
        assert told in refusal(server)
