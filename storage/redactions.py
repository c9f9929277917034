"""Which redactions name which events."""

from collections.abc import Iterable

from storage.database import Connection


async def of_events(conn: Connection, room_nid: int, event_ids: Iterable[str]) -> list[tuple[str, int]]:
    """(event id, number of a redaction that names it), for those that redactions of the room name."""
    rows = await conn.fetch(
        "SELECT redacts, redaction_nid FROM redactions WHERE redacts = ANY($1::text[]) AND room_nid = $2"
        " ORDER BY redaction_nid",
        list(event_ids),
        room_nid,
    )
    return [(row[0], row[1]) for row in rows]
