"""Servers of ours in this process that federate over loopback, and fixtures for them and for simulated peers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from attrs import define, evolve

from homeserver.app import config as options
from homeserver.app.assemble import Server, assemble
from homeserver.app.config import Config
from storage.database import Database, PoolSizes
from tests.kit.loopback import NETWORK, Authority, free_name, free_port
from tests.kit.peer import Peer
from tests.kit.server import RunningServer, plain_config


def federating_config(folder: Path, authority: Authority, **sections: Any) -> Config:
    """As `plain_config`, with a name of its own at which it answers other servers, and reach into loopback."""
    name = free_name()
    certificate, key = authority.files(name)
    federation = options.Federation(
        listen=name,
        tls_certificate=str(certificate),
        tls_key=str(key),
        certificate_authorities=str(authority.path),
        allowed_networks=[NETWORK],
    )
    plain = plain_config(folder, federation=federation)
    server = evolve(plain.server, name=name, listen=f"127.0.0.1:{free_port('127.0.0.1')}")
    return evolve(plain, server=server, **sections)


@define(eq=False)
class Homing(RunningServer):
    """A server that can be stopped and started again: same name, ports, keys and data; clients stay usable."""

    part: Server | None = None

    @property
    def name(self) -> str:
        return self.config.server.name

    async def start(self) -> None:
        """Serve clients and other servers."""
        await self.database.connect()
        try:
            self.part = await assemble(self.config, self.database)
            await self.part.start()
        except BaseException:
            self.part = None
            await self.database.close()
            raise
        self.endpoints = self.part.web.endpoints

    async def stop(self) -> None:
        """In order; nothing is lost."""
        if self.part is not None:
            server, self.part = self.part, None
            try:
                await server.stop()
            finally:
                url, sizes = self.database.url, self.database.sizes
                await self.database.close()
                self.database = Database(url=url, sizes=sizes)

    async def restart(self) -> None:
        await self.stop()
        await self.start()


@asynccontextmanager
async def running_homing(database_url: str, config: Config) -> AsyncIterator[Homing]:
    """Start a server that federates; stopped at the end unless it is already."""
    database = Database(url=database_url, sizes=PoolSizes(writers=4, readers=6))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
        homing = Homing(f"http://{config.server.listen}", config, database, http)
        await homing.start()
        try:
            yield homing
        finally:
            await homing.stop()


Homings = Callable[..., Awaitable[list[Homing]]]
Peers = Callable[..., Awaitable[Peer]]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The certificate authority that all servers of the session trust."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def homings(postgres: Any, authority: Authority, tmp_path: Path) -> AsyncIterator[Homings]:
    """`await homings(3)`: so many servers that reach each other, each on a database of its own."""
    async with AsyncExitStack() as stack:
        made: list[str] = []

        async def start(count: int, **sections: Any) -> list[Homing]:
            started = []
            for _ in range(count):
                made.append(await postgres.clone())
                folder = tmp_path / f"homing{len(made)}"
                folder.mkdir(mode=0o700)
                config = federating_config(folder, authority, **sections)
                started.append(await stack.enter_async_context(running_homing(made[-1], config)))
            return started

        yield start
        await stack.aclose()
        for url in made:
            await postgres.drop(url)


@pytest.fixture
async def homing(homings: Homings) -> Homing:
    """One server that federates with peers on loopback."""
    return (await homings(1))[0]


@pytest.fixture
async def peers(authority: Authority) -> AsyncIterator[Peers]:
    """`await peers()`: a further simulated server."""
    async with AsyncExitStack() as stack:

        async def start(**given: Any) -> Peer:
            peer = Peer(authority, **given)
            stack.push_async_callback(peer.stop)
            await peer.start()
            return peer

        yield start


@pytest.fixture
async def peer(peers: Peers) -> Peer:
    """One simulated server."""
    return await peers()
