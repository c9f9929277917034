"""Walks over rooms' graphs and whole states by number, and the bytes of events: what is spliced into answers.

A walk is one recursive statement. `OFFSET 0` keeps each of its steps a look-up by primary key, whatever the planner
believes about the number of rows; a `LIMIT` ends it as soon as enough is found.
"""

from collections.abc import Iterable, Sequence

from attrs import field, frozen

from storage.database import Connection
from storage.room_state import StatePoint


@frozen
class StoredBytes:
    """An event as it was signed, with what tells in which form it is shown."""

    nid: int
    room_nid: int
    redacted: bool
    json: bytes = field(repr=False)


async def state_nids(conn: Connection, room_nid: int, point: StatePoint) -> list[int]:
    """The events of the whole state at a point, oldest number first."""
    overlay = point.overlay
    nids: list[int] | None = await conn.fetchval(
        """
        WITH later AS (
            SELECT DISTINCT key_nid FROM state_log WHERE room_nid = $1 AND sp > $2
        ), whole AS (
            SELECT c.key_nid, c.event_nid FROM current_state c
             WHERE c.room_nid = $1 AND c.key_nid NOT IN (SELECT key_nid FROM later)
            UNION ALL
            SELECT later.key_nid, l.event_nid FROM later
             CROSS JOIN LATERAL (SELECT event_nid FROM state_log
                                  WHERE room_nid = $1 AND key_nid = later.key_nid AND sp <= $2
                                  ORDER BY sp DESC LIMIT 1) AS l
             WHERE l.event_nid IS NOT NULL
        )
        SELECT array_agg(event_nid ORDER BY event_nid)
          FROM (SELECT event_nid FROM whole WHERE key_nid <> ALL ($3::int[])
                 UNION ALL SELECT unnest($4::bigint[])) AS state(event_nid)
        """,
        room_nid,
        point.sp,
        list(overlay),
        [nid for nid in overlay.values() if nid is not None],
    )
    return nids or []


async def auth_chain(conn: Connection, room_nid: int, nids: Iterable[int]) -> list[int]:
    """All that the events' auth events lead to within the room; the events themselves only where one leads there."""
    found: list[int] | None = await conn.fetchval(
        """
        WITH RECURSIVE chain(nid) AS (
            SELECT DISTINCT unnest(auth_nids) FROM events WHERE event_nid = ANY ($2::bigint[])
            UNION
            SELECT a.nid
              FROM chain
             CROSS JOIN LATERAL (SELECT auth_nids FROM events
                                  WHERE event_nid = chain.nid AND room_nid = $1 OFFSET 0) AS e
             CROSS JOIN LATERAL unnest(e.auth_nids) AS a(nid)
        )
        SELECT array_agg(e.event_nid ORDER BY e.event_nid)
          FROM chain
         CROSS JOIN LATERAL (SELECT event_nid FROM events
                              WHERE event_nid = chain.nid AND room_nid = $1 OFFSET 0) AS e
        """,
        room_nid,
        list(nids),
    )
    return found or []


async def number_of(conn: Connection, room_nid: int, event_id: str) -> int | None:
    """The number of an event of the room, also of an outlier; None where we do not have it."""
    nid: int | None = await conn.fetchval(
        "SELECT event_nid FROM events WHERE event_id = $2 AND room_nid = $1", room_nid, event_id
    )
    return nid


async def breadth_first(
    conn: Connection, room_nid: int, starts: Sequence[int], limit: int, *, known: Sequence[int] = ()
) -> list[int]:
    """Up to `limit` events in front of the `starts`, nearest first; what is `known` is neither told nor passed.

    Rejected and soft-failed events are told like others: whoever follows them needs them. Outliers have no past.
    """
    rows = await conn.fetch(
        """
        WITH RECURSIVE walk(nid) AS (
            SELECT DISTINCT p.nid FROM events e CROSS JOIN LATERAL unnest(e.prev_nids) AS p(nid)
             WHERE e.event_nid = ANY ($2::bigint[]) AND e.room_nid = $1 AND e.state_sp IS NOT NULL
               AND p.nid <> ALL ($3::bigint[])
            UNION
            SELECT p.nid
              FROM walk
             CROSS JOIN LATERAL (SELECT prev_nids FROM events
                                  WHERE event_nid = walk.nid AND room_nid = $1 AND state_sp IS NOT NULL
                                 OFFSET 0) AS e
             CROSS JOIN LATERAL unnest(e.prev_nids) AS p(nid)
             WHERE p.nid <> ALL ($3::bigint[])
        )
        SELECT nid FROM walk LIMIT $4
        """,
        room_nid,
        list(starts),
        [*starts, *known],
        limit,
    )
    return [row[0] for row in rows]


async def numbers_of(conn: Connection, room_nid: int, event_ids: Iterable[str]) -> dict[str, int]:
    """Those of the events that the room has, outliers left out."""
    rows = await conn.fetch(
        """
        SELECT event_id, event_nid FROM events
         WHERE event_id = ANY ($2::text[]) AND room_nid = $1 AND state_sp IS NOT NULL
        """,
        room_nid,
        list(event_ids),
    )
    return {row[0]: row[1] for row in rows}


async def known_of(conn: Connection, room_nid: int, event_ids: Iterable[str]) -> set[str]:
    """Those of the events that the room has, outliers and rejected ones too, but for those that nobody has judged.

    These came with invitations and knocks of ours before the room was known: members without a place in a chain.
    """
    rows = await conn.fetch(
        """
        SELECT event_id FROM events
         WHERE room_nid = $1 AND event_id = ANY ($2::text[])
           AND NOT (status = 3 AND chain IS NULL AND type = 'm.room.member')
        """,
        room_nid,
        list(event_ids),
    )
    return {row[0] for row in rows}


async def event_ids(conn: Connection, nids: Sequence[int]) -> list[str]:
    """The ids of events, in the order of their numbers."""
    found: list[str] | None = await conn.fetchval(
        "SELECT array_agg(event_id ORDER BY event_nid) FROM events WHERE event_nid = ANY ($1::bigint[])",
        list(nids),
    )
    return found or []


async def stored_bytes(conn: Connection, nids: Sequence[int]) -> list[StoredBytes]:
    """Events as bytes, in no particular order."""
    rows = await conn.fetch(
        """
        SELECT event_nid, room_nid, redacted_by IS NOT NULL, json FROM events
         WHERE event_nid = ANY ($1::bigint[])
        """,
        list(nids),
    )
    return [StoredBytes(row[0], row[1], row[2], row[3]) for row in rows]
