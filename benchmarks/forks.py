"""What the resolution of a fork costs in a room of 28,000 members, in a real database: time, and rows read.

    python -m benchmarks.forks [--members N]

The room is entered like one of another server. Then two branches grow from its end, on each of which half of so many
members change their names; a message follows both. The whole state is never built, so the cost has to follow the
differences.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop
from attrs import define
from signedjson.key import generate_signing_key

from benchmarks.postgres import Cluster, postgres
from benchmarks.remote_rooms import VERSION, RemoteRoom, Speaker, founded
from homeserver.core.event_build import Built, Draft, Place, Signer, build_event
from homeserver.core.receipt_checks import Accepted
from homeserver.services.adoption import Adoption, Told
from homeserver.services.arrivals import Arrivals
from homeserver.services.judging import Arrival
from homeserver.services.room_states import RoomStates
from storage.database import Database, PoolSizes, connect_once
from storage.migrate import migrate
from tests.kit.services import Kit, build_kit

DIFFERENCES = (10, 100, 1_000)
ROWS_READ = "SELECT sum(coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0)) FROM pg_stat_user_tables"


@define
class Fork:
    """One branch of the room, and what was said on it."""

    room: RemoteRoom
    last: str
    depth: int
    events: list[Arrival]

    def rename(self, speaker: Speaker, name: str) -> None:
        content = {"membership": "join", "displayname": name}
        draft = Draft("m.room.member", speaker.user_id, content, _now(), self.room.room_id, speaker.user_id)
        place = Place(VERSION, (self.last,), (*self.room.auth, speaker.member), self.depth + 1)
        built = build_event(draft, place, speaker.signer)
        self.last, self.depth = built.event.event_id, built.event.depth
        self.events.append(_arrival(built))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=28_000)
    members: int = parser.parse_args().members
    signer = Signer("remote.example", generate_signing_key("a"))
    with tempfile.TemporaryDirectory(prefix="homing-forks-", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)  # noqa: PTH101 (PostgreSQL may run as another account)
        async with postgres(Path(name), "homing") as cluster:
            conn = await connect_once(cluster.url)
            await migrate(conn, report=lambda text: None)
            await conn.close()
            database = Database(url=cluster.url, sizes=PoolSizes(writers=4, readers=4))
            await database.connect()
            try:
                await run(build_kit(database), cluster, founded([signer], members))
            finally:
                await database.close()


async def run(kit: Kit, cluster: Cluster, room: RemoteRoom) -> None:
    arrivals = Arrivals(kit.timeline, RoomStates(kit.reader, kit.state_keys))
    before = list(room.state)
    join = room.state[-1]  # the last member stands for ours
    state = [_arrival(built) for built in before[:-1]]
    started, cpu = time.perf_counter(), time.process_time()
    told = Told(_arrival(join), state, state[:4])
    await Adoption(kit.timeline, arrivals).adopt(VERSION, told)
    print(
        f"entered: {len(state)} entries, {time.perf_counter() - started:.2f} s, CPU {time.process_time() - cpu:.2f} s"
    )
    print(
        "\n| entries that differ | ms an event of the second branch | ms for the event behind both | rows read for it |"
    )
    print("| ---: | ---: | ---: | ---: |")
    used = 1
    for differing in DIFFERENCES:
        speakers = room.speakers[used : used + differing]
        used += differing
        await measure(cluster, arrivals, room, speakers)


async def measure(
    cluster: Cluster, arrivals: Arrivals, room: RemoteRoom, speakers: Sequence[Speaker]
) -> None:
    half = len(speakers) // 2
    left, right = (Fork(room, room.last, room.depth, []) for _ in range(2))
    for speaker in speakers[:half]:
        left.rename(speaker, "left")
    for speaker in speakers[half:]:
        right.rename(speaker, "right")
    await take(arrivals, room, left.events)
    started = time.perf_counter()
    await take(arrivals, room, right.events)
    each = (time.perf_counter() - started) / len(right.events)
    speaker = room.speakers[0]
    draft = Draft("m.room.message", speaker.user_id, {"body": "both"}, _now(), room.room_id)
    place = Place(
        VERSION, (left.last, right.last), (room.auth[0], speaker.member), max(left.depth, right.depth) + 1
    )
    merge = build_event(draft, place, speaker.signer)
    rows = await rows_read(cluster)
    started = time.perf_counter()
    await take(arrivals, room, [_arrival(merge)])
    merged = time.perf_counter() - started
    rows = await rows_read(cluster) - rows
    room.last, room.depth = merge.event.event_id, merge.event.depth
    print(f"| {len(speakers):,} | {1000 * each:.1f} | {1000 * merged:.1f} | {rows:,} |")


async def take(arrivals: Arrivals, room: RemoteRoom, events: Sequence[Arrival]) -> None:
    for start in range(0, len(events), 50):
        verdicts = await arrivals.receive_all(room.room_id, events[start : start + 50])
        assert set(verdicts.values()) == {Accepted()}, verdicts


async def rows_read(cluster: Cluster) -> int:
    """What PostgreSQL's tables were read so far; its backends tell at most once a second."""
    await asyncio.sleep(1.5)
    return int((await cluster.ask(ROWS_READ))[0][0])


def _arrival(built: Built) -> Arrival:
    return Arrival(built.event, built.json)


def _now() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    uvloop.run(main())
