"""Rules of policy lists in the current state of rooms, and whether they may have changed."""

from collections.abc import Sequence

from attrs import frozen

from storage.database import Connection
from storage.events import COLUMNS, EventReader, StoredEvent

_EVENT = ", ".join(f"e.{column.strip()}" for column in COLUMNS.split(","))


@frozen(order=True)
class Seat:
    """Somebody in a room."""

    room_id: str
    user_id: str


async def people_around(conn: Connection, user_nid: int, *, after: int, limit: int) -> list[tuple[int, str]]:
    """(number, id) of those after one who are in, are invited to or knock at the rooms that a user is in."""
    rows = await conn.fetch(
        """
        SELECT k.key_nid, k.state_key
          FROM state_keys k
         WHERE k.key_nid > $2 AND k.key_nid IN (
               SELECT other.key_nid
                 FROM current_state mine
                 JOIN current_state other ON other.room_nid = mine.room_nid AND other.membership IN (1, 2, 3)
                WHERE mine.key_nid = $1 AND mine.membership = 1)
         ORDER BY k.key_nid LIMIT $3
        """,
        user_nid,
        after,
        limit,
    )
    return [(row[0], row[1]) for row in rows]


async def seats(conn: Connection, user_nid: int, others: Sequence[int]) -> list[Seat]:
    """Where these others are, are invited or knock, of the rooms that a user is in."""
    rows = await conn.fetch(
        """
        SELECT r.room_id, k.state_key
          FROM current_state mine
          JOIN current_state other ON other.room_nid = mine.room_nid AND other.membership IN (1, 2, 3)
          JOIN rooms r ON r.room_nid = mine.room_nid
          JOIN state_keys k ON k.key_nid = other.key_nid
         WHERE mine.key_nid = $1 AND mine.membership = 1 AND other.key_nid = ANY($2::int[])
        """,
        user_nid,
        list(others),
    )
    return sorted(Seat(*row) for row in rows)


async def lengths(conn: Connection, room_ids: Sequence[str]) -> dict[int, int]:
    """How long the main lines of those of the rooms are that we know: while that stays, so does the state."""
    rows = await conn.fetch(
        "SELECT room_nid, sp FROM rooms JOIN room_heads USING (room_nid) WHERE room_id = ANY($1::text[])",
        list(room_ids),
    )
    return {row[0]: row[1] for row in rows}


async def rules(
    conn: Connection, reader: EventReader, room_nids: Sequence[int], types: Sequence[str]
) -> list[StoredEvent]:
    """The rules that stand in these rooms."""
    rows = await conn.fetch(
        f"""
        SELECT {_EVENT}
          FROM state_keys k
          JOIN current_state c ON c.key_nid = k.key_nid AND c.room_nid = ANY($1::int[])
          JOIN events e ON e.event_nid = c.event_nid
         WHERE k.type = ANY($2::text[])
        """,  # noqa: S608 (our own column names)
        list(room_nids),
        list(types),
    )
    return list(await reader.read(conn, rows))
