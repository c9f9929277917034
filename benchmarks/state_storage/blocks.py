"""Design B: snapshots are lists of blocks, blocks are sorted lists of events, and later blocks win.

A change appends a block of one event; at 64 blocks all are merged into one. Which key an event sets is told by the
event's own row: `block_events` stands for those two columns of the events table and does not count.
"""

import hashlib
from collections.abc import Mapping, Sequence

from attrs import define, field

from benchmarks.state_storage.design import Change
from storage.database import Connection

MAX_BLOCKS = 64

_SCHEMA = """
CREATE TABLE state_blocks (
    block_nid  bigint PRIMARY KEY,
    room_nid   int NOT NULL,
    hash       bytea NOT NULL,
    event_nids bigint[] NOT NULL,
    UNIQUE (room_nid, hash)
);
CREATE TABLE state_snapshots (
    snapshot_nid bigint PRIMARY KEY,
    room_nid     int NOT NULL,
    hash         bytea NOT NULL,
    block_nids   bigint[] NOT NULL,
    UNIQUE (room_nid, hash)
);
CREATE TABLE block_events (event_nid bigint PRIMARY KEY, key_nid int NOT NULL);
"""
_INSERT_BLOCKS = """
INSERT INTO state_blocks
SELECT n, r, h, e::bigint[] FROM unnest($1::bigint[], $2::int[], $3::bytea[], $4::text[]) AS t(n, r, h, e)
"""
_INSERT_SNAPSHOTS = """
INSERT INTO state_snapshots
SELECT n, r, h, b::bigint[] FROM unnest($1::bigint[], $2::int[], $3::bytea[], $4::text[]) AS t(n, r, h, b)
"""

_KEYED = """
SELECT e.event_nid
  FROM state_snapshots s
 CROSS JOIN LATERAL unnest(s.block_nids) WITH ORDINALITY AS o(block_nid, place)
  JOIN state_blocks b USING (block_nid)
  JOIN block_events e ON e.key_nid = $2 AND e.event_nid = ANY(b.event_nids)
 WHERE s.snapshot_nid = $1
 ORDER BY o.place DESC LIMIT 1
"""
_WHOLE = """
SELECT DISTINCT ON (e.key_nid) e.key_nid, e.event_nid
  FROM state_snapshots s
 CROSS JOIN LATERAL unnest(s.block_nids) WITH ORDINALITY AS o(block_nid, place)
  JOIN state_blocks b USING (block_nid)
 CROSS JOIN LATERAL unnest(b.event_nids) AS n(event_nid)
  JOIN block_events e USING (event_nid)
 WHERE s.snapshot_nid = $1
 ORDER BY e.key_nid, o.place DESC
"""


@define
class Warm:
    """The newest snapshot of a room, in memory."""

    entries: dict[int, int] = field(factory=dict)
    blocks: list[int] = field(factory=list)


@define
class _Rows:
    blocks: list[tuple[int, int, bytes, str]] = field(factory=list)
    snapshots: list[tuple[int, int, bytes, str]] = field(factory=list)


@define
class Blocks:
    """`state_blocks` and `state_snapshots`."""

    name: str = "B: blocks"
    tables: tuple[str, ...] = ("state_blocks", "state_snapshots")
    ref_bytes: int = 8
    _newest: dict[int, Warm] = field(factory=dict)
    _blocks: int = 0
    _snapshots: int = 0

    async def prepare(self, conn: Connection, changes: Sequence[Change]) -> None:
        await conn.execute(_SCHEMA)
        records = [(change.event_nid, change.key_nid) for change in changes]
        await conn.copy_records_to_table("block_events", records=records)
        await conn.execute("CREATE INDEX block_events_of_key ON block_events (key_nid, event_nid)")
        await conn.execute("ANALYZE block_events")

    async def seed(self, conn: Connection, room_nid: int, entries: Mapping[int, int]) -> int:
        warm, rows = self._newest.setdefault(room_nid, Warm()), _Rows()
        warm.entries.update(entries)
        warm.blocks.append(self._block(room_nid, sorted(entries.values()), rows))
        ref = self._snapshot(room_nid, warm, rows)
        await _insert(conn, rows)
        return ref

    async def write(self, conn: Connection, changes: Sequence[Change]) -> list[int]:
        rows = _Rows()
        refs = [self._add(self._newest.setdefault(c.room_nid, Warm()), c, rows) for c in changes]
        await _insert(conn, rows)
        return refs

    async def branch(self, conn: Connection, room_nid: int, changes: Sequence[Change]) -> list[int]:
        newest, refs = self._newest[room_nid], []
        warm = Warm(dict(newest.entries), list(newest.blocks))
        for change in changes:
            rows = _Rows()
            refs.append(self._add(warm, change, rows))
            await _insert(conn, rows)
        return refs

    async def keyed(self, conn: Connection, room_nid: int, ref: int, key_nid: int) -> int | None:
        del room_nid
        found: int | None = await conn.fetchval(_KEYED, ref, key_nid)
        return found

    async def whole(self, conn: Connection, room_nid: int, ref: int) -> dict[int, int]:
        del room_nid
        return {row[0]: row[1] for row in await conn.fetch(_WHOLE, ref)}

    async def differences(self, conn: Connection, room_nid: int, one: int, other: int) -> set[int]:
        """Both states in full: a merged block does not tell what it was merged from."""
        left, right = await self.whole(conn, room_nid, one), await self.whole(conn, room_nid, other)
        return {key for key in left | right if left.get(key) != right.get(key)}

    async def purge(self, conn: Connection, room_nid: int, ref: int) -> int:
        """Blocks have no owner: all lists that stay are read to learn which blocks they name."""
        snapshots = await conn.execute(
            "DELETE FROM state_snapshots WHERE room_nid = $1 AND snapshot_nid < $2", room_nid, ref
        )
        blocks = await conn.execute(
            """
            WITH named AS (SELECT DISTINCT unnest(block_nids) AS block_nid FROM state_snapshots WHERE room_nid = $1)
            DELETE FROM state_blocks b
             WHERE b.room_nid = $1 AND NOT EXISTS (SELECT FROM named WHERE named.block_nid = b.block_nid)
            """,
            room_nid,
        )
        return int(snapshots.split()[-1]) + int(blocks.split()[-1])

    def _add(self, warm: Warm, change: Change, rows: _Rows) -> int:
        warm.entries[change.key_nid] = change.event_nid
        if len(warm.blocks) < MAX_BLOCKS:
            warm.blocks.append(self._block(change.room_nid, [change.event_nid], rows))
        else:
            warm.blocks[:] = [self._block(change.room_nid, sorted(warm.entries.values()), rows)]
        return self._snapshot(change.room_nid, warm, rows)

    def _block(self, room_nid: int, event_nids: list[int], rows: _Rows) -> int:
        self._blocks += 1
        rows.blocks.append((self._blocks, room_nid, *_hashed(event_nids)))
        return self._blocks

    def _snapshot(self, room_nid: int, warm: Warm, rows: _Rows) -> int:
        self._snapshots += 1
        rows.snapshots.append((self._snapshots, room_nid, *_hashed(warm.blocks)))
        return self._snapshots


def _hashed(numbers: list[int]) -> tuple[bytes, str]:
    text = "{" + ",".join(map(str, numbers)) + "}"
    return hashlib.sha256(text.encode()).digest()[:16], text


async def _insert(conn: Connection, rows: _Rows) -> None:
    await conn.execute(_INSERT_BLOCKS, *(list(column) for column in zip(*rows.blocks, strict=True)))
    await conn.execute(_INSERT_SNAPSHOTS, *(list(column) for column in zip(*rows.snapshots, strict=True)))
