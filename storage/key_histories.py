"""What keys of rooms' states have been over time, with the events themselves, in one statement."""

from collections.abc import Iterable

from storage.database import Connection
from storage.events import COLUMNS, EventReader, StoredEvent


async def key_histories(
    conn: Connection, reader: EventReader, ranges: Iterable[tuple[int, int, int]]
) -> dict[tuple[int, int], list[tuple[int, StoredEvent | None]]]:
    """For (room_nid, key_nid, low): [(sp, value)] of the value in force at `low` and of every change after it.

    No value: the key was taken out of the state, or its event is not here any more.
    """
    wanted = list(ranges)
    rows = await conn.fetch(
        f"""
        SELECT of_room, of_key, sp, e.*
          FROM unnest($1::int[], $2::int[], $3::int[]) AS n(of_room, of_key, low)
         CROSS JOIN LATERAL (
                (SELECT s.sp, s.event_nid AS value FROM state_log s
                  WHERE s.room_nid = of_room AND s.key_nid = of_key AND s.sp <= low
                  ORDER BY s.sp DESC LIMIT 1)
                UNION ALL
                SELECT s.sp, s.event_nid FROM state_log s
                 WHERE s.room_nid = of_room AND s.key_nid = of_key AND s.sp > low) AS l
          LEFT JOIN LATERAL (SELECT {COLUMNS} FROM events WHERE event_nid = value OFFSET 0) AS e ON true
         ORDER BY sp
        """,  # noqa: S608 (our own text)
        *([list(column) for column in zip(*wanted, strict=True)] if wanted else ([], [], [])),
    )
    read = await reader.read(conn, [row for row in rows if row["event_nid"] is not None])
    events = {stored.nid: stored for stored in read}
    found: dict[tuple[int, int], list[tuple[int, StoredEvent | None]]] = {}
    for row in rows:
        found.setdefault((row[0], row[1]), []).append((row[2], events.get(row["event_nid"])))
    return found
