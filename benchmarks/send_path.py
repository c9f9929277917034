"""What storing an event costs without HTTP: rates at several concurrencies, and bytes a table for each state change.

    python -m benchmarks.send_path [--small]

One process with one committer on a durable PostgreSQL. The figures are for docs/decisions.
"""

import argparse
import asyncio
import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop
from attrs import define

from benchmarks.postgres import Cluster, postgres
from benchmarks.setting import machine
from homeserver.core.event_build import Draft
from homeserver.core.room_versions import V11
from storage.committer import Committer
from storage.database import Database, PoolSizes, connect_once
from storage.migrate import migrate
from storage.rooms import Room
from tests.kit.services import ALICE, Kit, build_kit, founding

MESSAGE = {"msgtype": "m.text", "body": "x" * 200}
CONCURRENCIES = (1, 16, 64, 256)


@define
class Run:
    """What a round of sends came to."""

    label: str
    events: int
    seconds: float
    cpu: float
    turns: int
    p50: float

    def print(self) -> None:
        print(
            f"| {self.label} | {self.events / self.seconds:,.0f} | {1e3 * self.p50:.1f} |"
            f" {self.events / self.turns:.1f} | {1e6 * self.cpu / self.events:.0f} |"
        )


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.send_path")
    parser.add_argument("--small", action="store_true", help="a few seconds' run, to see that it works")
    count = 500 if parser.parse_args().small else 10_000
    with tempfile.TemporaryDirectory(prefix="homing-send-", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)  # noqa: PTH101 (PostgreSQL may run as another account)
        async with postgres(Path(name), "homing") as cluster:
            print(machine(), f"PostgreSQL {await cluster.version()},", f"load {os.getloadavg()[0]:.1f}\n")
            conn = await connect_once(cluster.url)
            await migrate(conn, report=lambda text: None)
            await conn.close()
            database = Database(url=cluster.url, sizes=PoolSizes(writers=2, readers=4))
            await database.connect()
            try:
                await run_all(build_kit(database), cluster, count)
            finally:
                await database.close()


async def run_all(kit: Kit, cluster: Cluster, count: int) -> None:
    rooms = [await new_room(kit, f"!room{n}:example.org") for n in range(32)]
    print("| | events a second | p50, ms | events a commit | CPU of the process, µs an event |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for senders in CONCURRENCIES:
        (await sends(kit, messages(rooms), senders, min(count, 100 * senders + count // 4))).print()
    (await sends(kit, messages(rooms[:1]), 64, count, label="64 senders, one room")).print()
    users = [f"@user{n}:example.org" for n in range(count)]
    (await sends(kit, joins(rooms[0], users), 64, len(users), label="64 users that join one room")).print()
    await cluster.settle()
    before = await relation_sizes(cluster)
    (await sends(kit, renames(rooms[0], users), 64, 2 * count, label="64 members that change")).print()
    await cluster.settle()
    print(f"\nBytes for each of {2 * count:,} changes of memberships in a room of {count:,}:\n")
    print("| relation | bytes a change |")
    print("| --- | ---: |")
    for name, size in sorted((await relation_sizes(cluster)).items()):
        if (grown := (size - before.get(name, 0)) / (2 * count)) >= 0.5:
            print(f"| {name} | {grown:.1f} |")


async def new_room(kit: Kit, room_id: str) -> Room:
    return (await kit.timeline.create(V11, founding(V11, room_id=room_id)))[0]


async def sends(kit: Kit, drafts: Iterator[Draft], senders: int, count: int, *, label: str = "") -> Run:
    """`count` events by so many senders, each of whom waits for its answer."""
    waits: list[float] = []
    todo = itertools.islice(drafts, count)
    turns, started, cpu = turns_of(kit.committer), time.perf_counter(), time.process_time()
    await asyncio.gather(*(sender(kit, todo, waits) for _ in range(senders)))
    return Run(
        label=label or f"{senders} senders, 32 rooms",
        events=count,
        seconds=time.perf_counter() - started,
        cpu=time.process_time() - cpu,
        turns=turns_of(kit.committer) - turns,
        p50=sorted(waits)[len(waits) // 2],
    )


async def sender(kit: Kit, drafts: Iterator[Draft], waits: list[float]) -> None:
    for draft in drafts:
        started = time.perf_counter()
        await kit.timeline.send(draft)
        waits.append(time.perf_counter() - started)


def turns_of(committer: Committer) -> int:
    return committer.statistics.turns


def messages(rooms: list[Room]) -> Iterator[Draft]:
    for room in itertools.cycle(rooms):
        yield Draft("m.room.message", ALICE, MESSAGE, now(), room.room_id)


def joins(room: Room, users: list[str]) -> Iterator[Draft]:
    for user in users:
        yield Draft("m.room.member", user, {"membership": "join"}, now(), room.room_id, user)


def renames(room: Room, users: list[str]) -> Iterator[Draft]:
    """Members in an order that has nothing to do with that of their joins."""
    for number in itertools.count(1):
        user = users[number * 7919 % len(users)]
        content = {"membership": "join", "displayname": f"User {number}"}
        yield Draft("m.room.member", user, content, now(), room.room_id, user)


def now() -> int:
    return time.time_ns() // 1_000_000


async def relation_sizes(cluster: Cluster) -> dict[str, int]:
    """Bytes of each table and each index."""
    rows = await cluster.ask(
        """
        SELECT relname, pg_relation_size(oid) FROM pg_class
         WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace
        """
    )
    return {name: int(size) for name, size in rows}


if __name__ == "__main__":
    uvloop.run(main())
