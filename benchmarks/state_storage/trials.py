"""The trials: one large room that changes a lot, its old states, a fork, a purge; and many small rooms."""

import random
from collections.abc import Mapping, Sequence

from attrs import define, field, frozen

from benchmarks.state_storage.design import Change, Design, Ref
from benchmarks.state_storage.gauges import content, measured, size
from storage.database import Connection

ROOM = 1
BATCH = 50  # changes a transaction, as when a server is busy
JOIN = 1
FORKS = (10, 1_000)

_CURRENT = """
INSERT INTO current_state AS old (room_nid, key_nid, event_nid, membership)
SELECT r, k, max(e), 1 FROM unnest($1::int[], $2::int[], $3::bigint[]) AS t(r, k, e) GROUP BY r, k
ON CONFLICT (room_nid, key_nid) DO UPDATE SET event_nid = excluded.event_nid, membership = excluded.membership
"""


@frozen
class Scale:
    """How much is done. The defaults are the bench list's."""

    members: int = 28_000
    changes: int = 100_000
    lookups: int = 10_000
    wholes: int = 50
    rooms: int = 10_000
    keys: int = 30


@define
class LargeRoom:
    """One room, known by its members at first; then they change, one at a time."""

    design: Design
    scale: Scale
    figures: dict[str, str] = field(factory=dict)
    _refs: list[Ref] = field(factory=list)
    _random: random.Random = field(factory=lambda: random.Random(4))
    _events: int = 0

    async def run(self, conn: Connection, *, only_write: bool = False) -> None:
        members = {key: key for key in range(1, self.scale.members + 1)}
        self._events = self.scale.members
        changes = self._changes(self.scale.changes)
        branches = {count: (self._changes(count // 2), self._changes(count // 2)) for count in FORKS}
        forked = [change for pair in branches.values() for branch in pair for change in branch]
        seeds = [Change(ROOM, *entry) for entry in members.items()]
        await self.design.prepare(conn, [*seeds, *changes, *forked])
        await self._seed(conn, members)
        await self._write(conn, changes)
        if only_write:
            return
        await self._look_up(conn, changes)
        for count, (ours, theirs) in branches.items():
            await self._fork(conn, count, ours, theirs)
        await self._purge(conn)

    def _changes(self, count: int) -> list[Change]:
        """Each of another member, if there are as many."""
        made: list[Change] = []
        while len(made) < count:
            keys = self._random.sample(
                range(1, self.scale.members + 1), k=min(count, self.scale.members // 4)
            )
            for key in keys[: count - len(made)]:
                self._events += 1
                made.append(Change(ROOM, key, self._events))
        return made

    async def _seed(self, conn: Connection, members: Mapping[int, int]) -> None:
        async with conn.transaction():
            self._refs = [await self.design.seed(conn, ROOM, members)]
            await write_current(conn, [Change(ROOM, *entry) for entry in members.items()])

    async def _write(self, conn: Connection, changes: Sequence[Change]) -> None:
        before = await size(conn, self.design.tables)
        await conn.execute("CHECKPOINT")
        async with measured(conn) as spent:
            for start in range(0, len(changes), BATCH):
                await self._commit(conn, changes[start : start + BATCH])
        grown = await size(conn, self.design.tables) - before
        count = len(changes)
        self.figures |= {
            "(a) bytes on disk a change": f"{grown / count + self.design.ref_bytes:,.0f}",
            "(a) WAL bytes a change": f"{spent.wal / count:,.0f}",
            "(a) changes a second": f"{count / spent.seconds:,.0f}",
        }

    async def _commit(self, conn: Connection, changes: Sequence[Change]) -> None:
        async with conn.transaction():
            self._refs += await self.design.write(conn, changes)
            await write_current(conn, changes)

    async def _look_up(self, conn: Connection, changes: Sequence[Change]) -> None:
        places = [self._random.randrange(1, len(self._refs)) for _ in range(self.scale.lookups)]
        async with measured(conn) as spent:
            for place in places:
                key = self._random.randint(1, self.scale.members)
                await self.design.keyed(conn, ROOM, self._refs[place], key)
        self.figures["(b) look-up of one key, ms"] = f"{1e3 * spent.seconds / len(places):,.2f}"
        self.figures["(b) entries read"] = f"{spent.read / len(places):,.0f}"
        places = places[: self.scale.wholes]
        async with measured(conn) as spent:
            states = [await self.design.whole(conn, ROOM, self._refs[place]) for place in places]
        self.figures["(c) whole state, ms"] = f"{1e3 * spent.seconds / len(places):,.0f}"
        self.figures["(c) entries read"] = f"{spent.read / len(places):,.0f}"
        self._check(changes, places[0], states[0])

    def _check(self, changes: Sequence[Change], place: int, state: Mapping[int, int]) -> None:
        """What is fast must also be right."""
        expected = {key: key for key in range(1, self.scale.members + 1)}
        expected |= {change.key_nid: change.event_nid for change in changes[:place]}
        assert state == expected, f"{self.design.name}: a wrong state"

    async def _fork(
        self, conn: Connection, count: int, ours: Sequence[Change], theirs: Sequence[Change]
    ) -> None:
        before = await content(conn, self.design.tables)
        branch = await self.design.branch(conn, ROOM, theirs)
        stored = await content(conn, self.design.tables) - before
        await self._commit(conn, ours)
        await conn.execute("VACUUM ANALYZE")
        runs = []
        for _ in range(10):
            async with measured(conn) as spent:
                found = await self.design.differences(conn, ROOM, self._refs[-1], branch[-1])
            runs.append(spent)
        assert found == {change.key_nid for change in (*ours, *theirs)}, (
            f"{self.design.name}: wrong differences"
        )
        best = min(runs, key=lambda run: run.seconds)
        self.figures |= {
            f"(d) fork of {count:,}: differences, ms": f"{1e3 * best.seconds:,.1f}",
            f"(d) fork of {count:,}: entries read": f"{best.read:,}",
            f"(d) fork of {count:,}: bytes a change of the branch": f"{stored / len(theirs):,.0f}",
        }

    async def _purge(self, conn: Connection) -> None:
        half = self._refs[len(self._refs) // 2]
        async with measured(conn) as spent, conn.transaction():
            rows = await self.design.purge(conn, ROOM, half)
        self.figures["(e) purge of the first half, s"] = f"{spent.seconds:,.2f}"
        self.figures["(e) rows deleted"] = f"{rows:,}"
        kept = await self.design.whole(conn, ROOM, self._refs[-1])
        assert len(kept) == self.scale.members, f"{self.design.name}: the purge took too much"


async def small_rooms(conn: Connection, design: Design, scale: Scale) -> dict[str, str]:
    """Many rooms that grow key by key, as rooms do that are made here."""
    changes = [
        Change(room, key, room * scale.keys + key)
        for room in range(1, scale.rooms + 1)
        for key in range(1, scale.keys + 1)
    ]
    await design.prepare(conn, changes)
    before = await size(conn, design.tables)
    async with measured(conn) as spent:
        for start in range(0, len(changes), 2 * scale.keys):
            async with conn.transaction():
                await design.write(conn, changes[start : start + 2 * scale.keys])
                await write_current(conn, changes[start : start + 2 * scale.keys])
    grown = await size(conn, design.tables) - before + design.ref_bytes * len(changes)
    return {
        "(f) bytes a room": f"{grown / scale.rooms:,.0f}",
        "(f) WAL bytes a room": f"{spent.wal / scale.rooms:,.0f}",
        "(f) rooms a second": f"{scale.rooms / spent.seconds:,.0f}",
    }


async def write_current(conn: Connection, changes: Sequence[Change]) -> None:
    """The resolved state now, which every design keeps beside its history."""
    rows = [(change.room_nid, change.key_nid, change.event_nid) for change in changes]
    await conn.execute(_CURRENT, *(list(column) for column in zip(*rows, strict=True)))
