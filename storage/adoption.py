"""Rooms of other servers as they are entered: written in pieces, seen by nobody until the join is in the timeline."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from itertools import islice

from storage.database import Connection
from storage.room_batches import EventRow
from storage.rooms import HeadRow, Room

EVENTS_AT_ONCE = 200  # some milliseconds of encoding, before others get their turn
ENTRIES_AT_ONCE = 2_000

_EVENT_COLUMNS = (
    "room_nid event_nid event_id origin_server_ts sender_nid type key_nid status rejection on_line prev_nids"
    " auth_nids chain chain_seq chain_links json"
).split()

Entry = tuple[int, int, int, int | None]  # key_nid, sp, event_nid, membership


async def claim_room(conn: Connection, room: Room, created_ts: int) -> tuple[int, str]:
    """Number and version of a room that may be known already; `room.nid` is for one that is not.

    What only an invitation told of the version gives way; the version of a room that we have been in never changes.
    """
    row = await conn.fetchrow(
        """
        INSERT INTO rooms AS old (room_nid, room_id, version, created_ts) VALUES ($1, $2, $3, $4)
        ON CONFLICT (room_id)
        DO UPDATE SET version = CASE WHEN EXISTS (SELECT FROM room_heads h
                                                   WHERE h.room_nid = old.room_nid AND h.extremities <> '{}')
                                     THEN old.version ELSE excluded.version END
        RETURNING room_nid, version
        """,
        room.nid,
        room.room_id,
        room.version.name,
        created_ts,
    )
    assert row is not None
    return row["room_nid"], row["version"]


async def begin_head(conn: Connection, room_nid: int, row: HeadRow) -> bool:
    """A head without extremities, in place of one that an earlier attempt left; False: the room is entered."""
    begun = await conn.fetchval(
        """
        INSERT INTO room_heads AS old (room_nid, version, extremities, depth, sp, chains, joined, invited, position)
        VALUES ($1, $2, '{}', $3, $4, $5, $6, $7, 0)
        ON CONFLICT (room_nid)
        DO UPDATE SET version = excluded.version, depth = excluded.depth, sp = excluded.sp, chains = excluded.chains,
                      joined = excluded.joined, invited = excluded.invited
         WHERE old.extremities = '{}'
        RETURNING true
        """,
        room_nid,
        row.version,
        row.depth,
        row.sp,
        row.chains,
        row.joined,
        row.invited,
    )
    if begun:
        await conn.execute("DELETE FROM state_log WHERE room_nid = $1", room_nid)
        await conn.execute("DELETE FROM current_state WHERE room_nid = $1", room_nid)
    return bool(begun)


async def begin_state(conn: Connection, room_nid: int, entries: Sequence[Entry]) -> None:
    """The first entries of the room's main line, which are its current state."""
    for start in range(0, len(entries), ENTRIES_AT_ONCE):
        part = entries[start : start + ENTRIES_AT_ONCE]
        await conn.copy_records_to_table(
            "state_log",
            records=[(room_nid, key, sp, nid) for key, sp, nid, _ in part],
            columns=["room_nid", "key_nid", "sp", "event_nid"],
        )
        await conn.copy_records_to_table(
            "current_state",
            records=[(room_nid, key, nid, membership) for key, _, nid, membership in part],
            columns=["room_nid", "key_nid", "event_nid", "membership"],
        )
        await asyncio.sleep(0)


async def forget_outliers(conn: Connection, event_nids: Collection[int]) -> None:
    """Events that nobody had judged: they are written anew."""
    if event_nids:
        await conn.execute(
            "DELETE FROM events WHERE event_nid = ANY($1::bigint[]) AND state_sp IS NULL", list(event_nids)
        )


async def insert_outliers(conn: Connection, room_nid: int, rows: Iterable[EventRow]) -> None:
    """Events that are part of no timeline. Raises UniqueViolation where one of them is known."""
    rest = iter(rows)
    while part := list(islice(rest, EVENTS_AT_ONCE)):
        records = [
            (
                room_nid, e.event_nid, e.event_id, e.origin_server_ts, e.sender_nid, e.type, e.key_nid, e.status,
                e.rejection, False, e.prev_nids, e.auth_nids, e.chain, e.chain_seq, e.chain_links, e.json,
            )
            for e in part
        ]  # fmt: skip
        await conn.copy_records_to_table("events", records=records, columns=_EVENT_COLUMNS)
        await asyncio.sleep(0)
