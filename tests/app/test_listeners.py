"""The listener for other servers: its own TLS, renewed while it serves, and nothing there for operators only."""

import asyncio
import os
import ssl
from contextlib import asynccontextmanager

import aiohttp
import pytest
import trustme
from attrs import evolve

from homeserver.app.assemble import assemble
from homeserver.app.config import Federation
from homeserver.app.config_file import ConfigFaults, parse_config
from homeserver.app.key_files import UnusableKeyFile
from homeserver.app.listeners import Certificate
from tests.kit.server import plain_config


def write_certificate(authority, folder):
    made = authority.issue_cert("127.0.0.1")
    made.private_key_and_cert_chain_pem.write_to_path(str(folder / "tls.pem"))


@asynccontextmanager
async def serving(database, config):
    """Ports of clients' and of other servers' listener."""
    server = await assemble(config, database)
    await server.start()
    try:
        yield [listener.sockets[0].getsockname()[1] for listener in server.web._listeners]
    finally:
        await server.stop()


@asynccontextmanager
async def client(authority):
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as http:
        yield http


async def test_other_servers_come_by_tls(database, tmp_path):
    authority = trustme.CA()
    write_certificate(authority, tmp_path)
    config = evolve(
        plain_config(tmp_path), federation=Federation(listen="127.0.0.1:0", tls_certificate="tls.pem")
    )
    async with serving(database, config) as (inner, outer), client(authority) as http:

        async def status(url):
            async with http.get(url) as answer:
                return answer.status

        there = f"https://127.0.0.1:{outer}"
        assert await status(f"{there}/_matrix/key/v2/server") == 200
        assert await status(f"{there}/_matrix/client/versions") == 200
        for path in (
            "/metrics",
            "/_homing/metrics",
            "/_homing/ready",
            "/health",
            "/_synapse/admin/v1/register",
        ):
            assert await status(f"{there}{path}") == 404
            assert await status(f"http://127.0.0.1:{inner}{path}") == 200


async def test_without_a_certificate_a_proxy_adds_tls(database, tmp_path):
    config = evolve(plain_config(tmp_path), federation=Federation(listen="127.0.0.1:0"))
    async with (
        serving(database, config) as (_, outer),
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{outer}/_matrix/key/v2/server") as answer,
    ):
        assert answer.status == 200


async def test_without_federation_nothing_listens(database, tmp_path):
    off = Federation(enabled=False, listen="127.0.0.1:0")
    async with serving(database, evolve(plain_config(tmp_path), federation=off)) as ports:
        assert len(ports) == 1


async def handshake(certificate, authority):
    """Do a client that trusts the authority and the listener understand each other?"""
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    server = await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=certificate.context
    )
    async with server:
        try:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=tls)
        except ssl.SSLError:
            return False
        writer.close()
        return True


async def test_a_renewed_certificate_is_taken_up(tmp_path):
    path = tmp_path / "tls.pem"
    old, new = trustme.CA(), trustme.CA()
    write_certificate(old, tmp_path)
    certificate = Certificate(path, path)
    certificate.load()
    assert await handshake(certificate, old)
    path.write_text("half a file")
    os.utime(path, (1, 1))
    certificate.reload()
    assert await handshake(certificate, old)
    write_certificate(new, tmp_path)
    os.utime(path, (2, 2))
    certificate.reload()
    assert await handshake(certificate, new)
    path.unlink()
    certificate.reload()
    assert await handshake(certificate, new)


def test_a_certificate_that_cannot_be_used(tmp_path):
    (tmp_path / "tls.pem").write_text("nothing")
    for name in ("tls.pem", "missing.pem"):
        with pytest.raises(UnusableKeyFile, match=name):
            Certificate(tmp_path / name, tmp_path / name).load()


async def test_authorities_that_cannot_be_used(database, tmp_path):
    config = evolve(plain_config(tmp_path), federation=Federation(certificate_authorities="missing.pem"))
    with pytest.raises(UnusableKeyFile, match=r"missing\.pem"):
        await assemble(config, database)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('allowed_networks = ["10.0.0.0/33"]', "must be networks"),
        ('allowed_networks = ["10.0.0.1/8"]', "must be networks"),
        ('notaries = ["https://matrix.org"]', "must be server names"),
        ("allowed_servers = [3]", "must be a string"),
        ('listen = "8448"', "must be HOST:PORT"),
        ("first_retry = 0", "at least"),
    ],
)
def test_options(text, fault):
    with pytest.raises(ConfigFaults, match=fault):
        parse_config(f"[federation]\n{text}\n")
