"""Rules of policy lists in the current state of rooms, and whether they may have changed."""

from collections.abc import Sequence

from storage.database import Connection
from storage.events import COLUMNS, EventReader, StoredEvent

_EVENT = ", ".join(f"e.{column.strip()}" for column in COLUMNS.split(","))


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
