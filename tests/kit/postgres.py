"""A real PostgreSQL for tests: one server a session, one database a test, each a clone of one template."""

import asyncio
import itertools
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from attrs import define, field

from homeserver.app.embedded_postgres import SETTINGS, EmbeddedPostgres
from storage.database import connect_once
from storage.migrate import migrate

# Nothing here outlives the session: no flush to disk is worth waiting for.
FAST = {
    **SETTINGS,
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "logging_collector": "off",
    "autovacuum": "off",
    "max_connections": "300",
    "shared_buffers": "64MB",
}


def with_database(url: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@define
class TestPostgres:
    """A running server; its databases are made and dropped here."""

    __test__ = False

    url: str
    worker: str
    _numbers: itertools.count = field(factory=itertools.count)

    @property
    def template(self) -> str:
        return f"template_{self.worker}"

    async def make_template(self) -> None:
        await self.create(self.template)
        conn = await connect_once(with_database(self.url, self.template))
        try:
            await migrate(conn, report=lambda text: None)
        finally:
            await conn.close()

    async def clone(self) -> str:
        """A fresh database with today's schema; its URL."""
        name = f"test_{self.worker}_{next(self._numbers)}"
        await self.create(name, f"TEMPLATE {self.template} STRATEGY FILE_COPY")
        return with_database(self.url, name)

    async def empty(self, options: str = "") -> str:
        """A fresh database without any table; `options` as CREATE DATABASE takes them."""
        name = f"empty_{self.worker}_{next(self._numbers)}"
        await self.create(name, options)
        return with_database(self.url, name)

    async def create(self, name: str, options: str = "") -> None:
        await self.execute(
            f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name} {options}"
        )

    async def drop(self, url: str) -> None:
        await self.execute(f"DROP DATABASE IF EXISTS {urlsplit(url).path[1:]} WITH (FORCE)")

    async def execute(self, *statements: str) -> None:
        conn = await connect_once(self.url)
        try:
            for statement in statements:
                await conn.execute(statement)
        finally:
            await conn.close()


@contextmanager
def running_server():
    """A server in a temporary folder, or the one that HOMING_TEST_DATABASE_URL names; yields its URL."""
    given = os.environ.get("HOMING_TEST_DATABASE_URL")
    if given:
        yield given
        return
    with (
        tempfile.TemporaryDirectory(prefix="homing-test-", ignore_cleanup_errors=True) as folder,
        EmbeddedPostgres(Path(folder), report=lambda text: None, settings=FAST) as postgres,
    ):
        yield postgres.url


def prepared(url: str, worker: str) -> TestPostgres:
    """The server with its template made."""
    postgres = TestPostgres(url=url, worker=worker)
    asyncio.run(postgres.make_template())
    return postgres
