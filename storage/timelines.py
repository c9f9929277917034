"""Stretches of rooms' timelines, many rooms at once: what /sync reads."""

from collections.abc import Mapping, Sequence

from attrs import frozen

from storage.database import Connection
from storage.events import COLUMNS, EventReader, StoredEvent

BEGINNING = 0  # history that was fetched backwards is for who asks for pages of it

_EVENT = ", ".join(f"e.{column.strip()}" for column in COLUMNS.split(","))


@frozen
class Stretch:
    """The events of a room with `after` < position <= `upto`."""

    room_nid: int
    after: int
    upto: int


async def newest(
    conn: Connection, reader: EventReader, stretches: Sequence[Stretch], limit: int
) -> dict[int, list[StoredEvent]]:
    """The last `limit` events of each stretch, oldest first. Rooms without any are left out."""
    rows = await conn.fetch(
        f"""
        SELECT {_EVENT}
          FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS n(room_nid, low, high)
         CROSS JOIN LATERAL (
               SELECT * FROM events
                WHERE room_nid = n.room_nid AND position > n.low AND position <= n.high
                ORDER BY position DESC LIMIT $4) AS e
         ORDER BY e.position
        """,  # noqa: S608 (our own column names)
        [stretch.room_nid for stretch in stretches],
        [stretch.after for stretch in stretches],
        [stretch.upto for stretch in stretches],
        limit,
    )
    found: dict[int, list[StoredEvent]] = {}
    for stored in await reader.read(conn, rows):
        found.setdefault(stored.room.nid, []).append(stored)
    return found


async def line_ends(conn: Connection, positions: Mapping[int, int]) -> dict[int, int]:
    """How long each room's main line was at its position of the clock; rooms that had not begun are left out."""
    rows = await conn.fetch(
        """
        SELECT n.room_nid, e.line_sp
          FROM unnest($1::int[], $2::bigint[]) AS n(room_nid, upto)
         CROSS JOIN LATERAL (
               SELECT line_sp FROM events
                WHERE room_nid = n.room_nid AND position <= n.upto AND position > 0
                ORDER BY position DESC LIMIT 1) AS e
        """,
        list(positions),
        list(positions.values()),
    )
    return {row[0]: row[1] or 0 for row in rows}
