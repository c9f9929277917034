"""Rooms of other servers as they are entered: written in pieces, seen by nobody until the join is in the timeline."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from storage.binary_copy import boolean, bytea, copy_encoded, int2, int4, int4s, int8s, packed, row_of, text
from storage.database import Connection
from storage.rooms import HeadRow, Room

_EVENT_COLUMNS = (
    "room_nid", "on_line", "prev_nids", "event_nid", "origin_server_ts", "sender_nid", "status", "event_id", "type",
    "key_nid", "rejection", "auth_nids", "chain", "chain_seq", "chain_links", "json",
)  # fmt: skip
_LOG_COLUMNS = ("room_nid", "key_nid", "sp", "event_nid")
_CURRENT_COLUMNS = ("room_nid", "key_nid", "event_nid", "membership")

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
    four, log, current = (
        len(_LOG_COLUMNS),
        packed("int4", "int4", "int4", "int8"),
        packed("int4", "int4", "int8"),
    )
    rows = (row_of(four, log(room_nid, key, sp, nid)) for key, sp, nid, _ in entries)
    await copy_encoded(conn, "state_log", _LOG_COLUMNS, rows)
    rows = (
        row_of(four, current(room_nid, key, nid), int2(membership)) for key, _, nid, membership in entries
    )
    await copy_encoded(conn, "current_state", _CURRENT_COLUMNS, rows)


async def forget_outliers(conn: Connection, event_nids: Collection[int]) -> None:
    """Events that nobody had judged: they are written anew."""
    if event_nids:
        await conn.execute(
            "DELETE FROM events WHERE event_nid = ANY($1::bigint[]) AND state_sp IS NULL", list(event_nids)
        )


async def insert_outliers(conn: Connection, room_nid: int, rows: Iterable[OutlierRow]) -> None:
    """Events that are part of no timeline. Raises UniqueViolation where one of them is known."""
    await copy_encoded(conn, "events", _EVENT_COLUMNS, _event_rows(room_nid, rows))


def _event_rows(room_nid: int, rows: Iterable[OutlierRow]) -> Iterator[bytes]:
    width, same = len(_EVENT_COLUMNS), int4(room_nid) + boolean(False) + int8s(())
    numbers = packed("int8", "int8", "int4", "int2")
    for row in rows:
        yield row_of(
            width,
            same,
            numbers(row.event_nid, row.origin_server_ts, row.sender_nid, row.status),
            text(row.event_id),
            text(row.type),
            int4(row.key_nid),
            text(row.rejection),
            int8s(row.auth_nids),
            int4(row.chain),
            int4(row.chain_seq),
            int4s(row.chain_links),
            bytea(row.json),
        )
