"""Pages of a room's timeline by position, and its events around a time [cs "Getting events for a room"]."""

from collections.abc import Sequence

from storage.database import Connection
from storage.events import COLUMNS, EventReader, StoredEvent

FIRST, LAST = -(2**62), 2**62  # before and behind all positions


async def between(
    conn: Connection,
    reader: EventReader,
    room_nid: int,
    *,
    low: int,
    high: int,
    newest_first: bool,
    limit: int,
    types: Sequence[str] | None = None,
) -> list[StoredEvent]:
    """Up to `limit` events with low < position <= high; `types` narrows to exact types."""
    order = "DESC" if newest_first else "ASC"
    rows = await conn.fetch(
        f"""
        SELECT {COLUMNS} FROM events
         WHERE room_nid = $1 AND position > $2 AND position <= $3 AND status = 0
           AND ($5::text[] IS NULL OR type = ANY($5))
         ORDER BY position {order} LIMIT $4
        """,  # noqa: S608 (our own text)
        room_nid,
        low,
        high,
        limit,
        types,
    )
    return await reader.read(conn, rows)


async def around_time(
    conn: Connection, reader: EventReader, room_nid: int, ts: int, *, forwards: bool, limit: int
) -> list[StoredEvent]:
    """Up to `limit` events at or next to a time, the nearest first."""
    condition = (
        "origin_server_ts >= $2 ORDER BY origin_server_ts, position"
        if forwards
        else "origin_server_ts <= $2 ORDER BY origin_server_ts DESC, position DESC"
    )
    rows = await conn.fetch(
        f"""
        SELECT {COLUMNS} FROM events
         WHERE room_nid = $1 AND position IS NOT NULL AND status = 0 AND {condition} LIMIT $3
        """,  # noqa: S608 (our own text)
        room_nid,
        ts,
        limit,
    )
    return await reader.read(conn, rows)


async def sp_at(conn: Connection, room_nid: int, position: int) -> int | None:
    """The main line's length after the last event at or before a position; None: the room is younger."""
    sp: int | None = await conn.fetchval(
        """
        SELECT line_sp FROM events
         WHERE room_nid = $1 AND position <= $2 AND status = 0 AND line_sp IS NOT NULL
         ORDER BY position DESC LIMIT 1
        """,
        room_nid,
        position,
    )
    return sp
