"""The children of spaces, for many rooms at once [cs "Spaces"]."""

from collections.abc import Iterable

from storage.database import Connection
from storage.events import COLUMNS, EventReader, StoredEvent

_EVENT = ", ".join(f"e.{column.strip()}" for column in COLUMNS.split(","))


async def children(
    conn: Connection, reader: EventReader, room_nids: Iterable[int]
) -> dict[int, list[StoredEvent]]:
    """room_nid -> its m.space.child events, removed ones too."""
    rows = await conn.fetch(
        f"""
        SELECT {_EVENT}
          FROM current_state c
          JOIN state_keys k ON k.key_nid = c.key_nid AND k.type = 'm.space.child'
          JOIN events e ON e.event_nid = c.event_nid
         WHERE c.room_nid = ANY($1::int[]) AND c.membership IS NULL
        """,  # noqa: S608 (our own column names)
        list(room_nids),
    )
    found: dict[int, list[StoredEvent]] = {}
    for stored in await reader.read(conn, rows):
        found.setdefault(stored.room.nid, []).append(stored)
    return found
