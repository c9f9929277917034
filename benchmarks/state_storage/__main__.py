"""Compares ways to store room state on a durable PostgreSQL; the answer is docs/decisions/0001-state-is-a-log.md.

    python -m benchmarks.state_storage [--small] [B D E]

Prints a table in Markdown. The full run takes some minutes; nothing else should run beside it.
"""

import argparse
import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from attrs import evolve

from benchmarks.postgres import Cluster, postgres
from benchmarks.setting import machine
from benchmarks.state_storage.blocks import Blocks
from benchmarks.state_storage.design import Design
from benchmarks.state_storage.log import Log
from benchmarks.state_storage.nothing import Nothing
from benchmarks.state_storage.tree import Tree
from benchmarks.state_storage.trials import LargeRoom, Scale, small_rooms
from storage.database import Connection, connect_once
from storage.migrate import migrate

DESIGNS: dict[str, Callable[[], Design]] = {"E": Log, "D": Tree, "B": Blocks}
SMALL = Scale(members=2_000, changes=6_000, lookups=200, wholes=5, rooms=100)


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.state_storage")
    parser.add_argument("--small", action="store_true", help="a minute's run, to see that it works")
    parser.add_argument("designs", nargs="*", help="which of B, D and E (default: all)")
    options = parser.parse_args()
    names = options.designs or list(DESIGNS)
    scale = SMALL if options.small else Scale()
    table: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory(prefix="homing-state-", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)  # noqa: PTH101 (PostgreSQL may run as another account)
        async with postgres(Path(name), "first") as cluster:
            print(machine(), f"PostgreSQL {await cluster.version()},", f"load {os.getloadavg()[0]:.1f}\n")
            nothing = LargeRoom(Nothing(), scale)  # type: ignore[arg-type]
            async with fresh_database(cluster, "nothing") as conn:
                await nothing.run(conn, only_write=True)
            table["current state only"] = nothing.figures
            for letter in names:
                table[DESIGNS[letter]().name] = await compare(cluster, letter, scale)
    print_table(table)


async def compare(cluster: Cluster, letter: str, scale: Scale) -> dict[str, str]:
    """All figures of one design."""
    large = LargeRoom(DESIGNS[letter](), scale)
    async with fresh_database(cluster, f"{letter}_large".lower()) as conn:
        await large.run(conn)
    async with fresh_database(cluster, f"{letter}_small".lower()) as conn:
        return large.figures | await small_rooms(conn, DESIGNS[letter](), scale)


@asynccontextmanager
async def fresh_database(cluster: Cluster, name: str) -> AsyncIterator[Connection]:
    """A database with today's schema, dropped afterwards."""
    await cluster.ask(f'CREATE DATABASE "{name}"')
    conn = await connect_once(evolve(cluster, database=name).url)
    try:
        await migrate(conn, report=lambda text: None)
        yield conn
    finally:
        await conn.close()
        await cluster.ask(f'DROP DATABASE "{name}"')


def print_table(table: dict[str, dict[str, str]]) -> None:
    """Figures down, designs across."""
    figures = dict.fromkeys(figure for one in table.values() for figure in one)
    print("| | " + " | ".join(table) + " |")
    print("| --- |" + " ---: |" * len(table))
    for figure in figures:
        print(f"| {figure} | " + " | ".join(one.get(figure, "") for one in table.values()) + " |")


if __name__ == "__main__":
    asyncio.run(main())
