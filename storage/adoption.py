"""Rooms of other servers as they are entered: written in pieces, seen by nobody until the join is in the timeline."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from storage.binary_copy import Encoder, boolean, bytea, copy_rows, int2, int4, int4s, int8, int8s, text
from storage.database import Connection
from storage.rooms import HeadRow, Room

_EVENT_COLUMNS: dict[str, Encoder] = {
    "room_nid": int4, "on_line": boolean, "prev_nids": int8s,
    "event_nid": int8, "event_id": text, "origin_server_ts": int8, "sender_nid": int4, "type": text, "key_nid": int4,
    "status": int2, "rejection": text, "auth_nids": int8s, "chain": int4, "chain_seq": int4, "chain_links": int4s,
    "json": bytea,
}  # fmt: skip
_LOG_COLUMNS: dict[str, Encoder] = {"room_nid": int4, "key_nid": int4, "sp": int4, "event_nid": int8}
_CURRENT_COLUMNS: dict[str, Encoder] = {
    "room_nid": int4,
    "key_nid": int4,
    "event_nid": int8,
    "membership": int2,
}

Entry = tuple[int, int, int, int | None]  # key_nid, sp, event_nid, membership


class OutlierRow(NamedTuple):
    """An event that is part of no timeline, as its row has it."""

    event_nid: int
    event_id: str
    origin_server_ts: int
    sender_nid: int
    type: str
    key_nid: int | None
    status: int
    rejection: str | None
    auth_nids: tuple[int, ...]
    chain: int | None
    chain_seq: int | None
    chain_links: Sequence[int] | None
    json: bytes


async def leave_flush_to_next(conn: Connection) -> None:
    """End the transaction without waiting for the disk: whatever commits next, and waits, takes it along.

    For what nobody sees before that next commit. A crash in between loses either this alone or nothing.
    """
    await conn.execute("SET LOCAL synchronous_commit TO off")


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
    log = ((room_nid, key, sp, nid) for key, sp, nid, _ in entries)
    await copy_rows(conn, "state_log", _LOG_COLUMNS, log)
    current = ((room_nid, key, nid, membership) for key, _, nid, membership in entries)
    await copy_rows(conn, "current_state", _CURRENT_COLUMNS, current)


async def forget_outliers(conn: Connection, event_nids: Collection[int]) -> None:
    """Events that nobody had judged: they are written anew."""
    if event_nids:
        await conn.execute(
            "DELETE FROM events WHERE event_nid = ANY($1::bigint[]) AND state_sp IS NULL", list(event_nids)
        )


async def insert_outliers(conn: Connection, room_nid: int, rows: Iterable[OutlierRow]) -> None:
    """Events that are part of no timeline. Raises UniqueViolation where one of them is known."""
    await copy_rows(conn, "events", _EVENT_COLUMNS, ((room_nid, False, (), *row) for row in rows))
