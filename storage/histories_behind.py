"""Where what we have of rooms' pasts begins or has gaps, and events put in there.

In front of the beginning positions are negative; in front of an event behind a gap many were left free.
"""

from collections.abc import Sequence

from attrs import field, frozen

from storage.batch_statements import FOUND, MISSING, REDACTIONS, RELATIONS, columns
from storage.database import Connection
from storage.room_batches import EventRow, RedactionRow, RelationRow
from storage.room_state import StatePoint, intern_overlays

_COLUMNS = (
    "room_nid event_nid event_id origin_server_ts sender_nid type key_nid state_sp overlay_nid line_sp on_line"
    " status rejection position prev_nids auth_nids chain chain_seq chain_links json"
).split()


class PlaceTaken(Exception):
    """Other events stand where these should."""


@frozen
class Edge:
    """Where events are missing in front of one that we have: at the room's beginning for us, or behind a gap.

    `base_sp`: how long the main line was before the first event behind it that came to us as it happened: states
    of history are told as differences from there. `position`: of the oldest event behind a gap; 0 at the beginning.
    """

    base_sp: int
    wanted: tuple[str, ...]
    position: int = 0


@frozen(kw_only=True)
class Stretch:
    """Events of history, oldest first, with the states before them and what follows from them."""

    room_nid: int
    position: int  # of the edge that it is put in front of
    events: Sequence[EventRow] = field(repr=False)
    points: Sequence[StatePoint] = field(repr=False)
    relations: Sequence[RelationRow] = ()
    redactions: Sequence[RedactionRow] = ()
    missing: Sequence[tuple[str, int]] = ()  # (event id we lack, event_nid that names it)


async def edge(conn: Connection, room_nid: int, limit: int) -> Edge | None:
    """Where the room's history ends for us; None where nothing is known to be in front of what we have."""
    rows = await conn.fetch(
        """
        WITH first AS (
            SELECT position, state_sp FROM events
             WHERE room_nid = $1 AND position > 0 ORDER BY position LIMIT 1
        )
        SELECT first.state_sp, m.event_id, max(coalesce(e.position, e.event_nid)) AS nearest
          FROM first
         CROSS JOIN missing_events m
          JOIN events e ON e.event_nid = m.wanted_by
         WHERE m.room_nid = $1
           AND (e.position <= first.position OR (e.position IS NULL AND e.state_sp <= first.state_sp))
         GROUP BY first.state_sp, m.event_id
         ORDER BY nearest DESC LIMIT $2
        """,
        room_nid,
        limit,
    )
    return Edge(rows[0][0], tuple(row[1] for row in rows)) if rows else None


async def gap(conn: Connection, room_nid: int, low: int, high: int, limit: int) -> Edge | None:
    """The newest gap in front of an event at a position in (low, high], if there is one.

    What was put into it stands right below the event behind it, so the gap is in front of the last of these.
    """
    row = await conn.fetchrow(
        """
        WITH behind AS (
            SELECT e.position FROM missing_events m JOIN events e ON e.event_nid = m.wanted_by
             WHERE m.room_nid = $1 AND e.position > $2 AND e.position <= $3 AND e.position > 0
               AND EXISTS (SELECT FROM events b WHERE b.room_nid = $1 AND b.position < e.position AND b.position > 0)
             ORDER BY e.position DESC LIMIT 1
        )
        SELECT behind.position AS top, e.position, e.state_sp
          FROM behind CROSS JOIN LATERAL (
               SELECT position, state_sp FROM events e
                WHERE e.room_nid = $1 AND e.position <= behind.position
                  AND NOT EXISTS (SELECT FROM events b WHERE b.room_nid = $1 AND b.position = e.position - 1)
                ORDER BY position DESC LIMIT 1) AS e
        """,
        room_nid,
        low,
        high,
    )
    if row is None or row["position"] <= low:
        return None
    rows = await conn.fetch(
        """
        SELECT m.event_id FROM missing_events m JOIN events e ON e.event_nid = m.wanted_by
         WHERE m.room_nid = $1 AND e.position >= $2 AND e.position <= $3
         GROUP BY m.event_id ORDER BY max(e.position) LIMIT $4
        """,
        room_nid,
        row["position"],
        row["top"],
        limit,
    )
    return Edge(row["state_sp"], tuple(one[0] for one in rows), row["position"])


async def newest_place(conn: Connection, room_nid: int, high: int, skip: int) -> int | None:
    """The position of the event that `skip` events of the timeline follow up to `high`; None: there are not so many."""
    position: int | None = await conn.fetchval(
        "SELECT position FROM events WHERE room_nid = $1 AND position <= $2 ORDER BY position DESC OFFSET $3 LIMIT 1",
        room_nid,
        high,
        skip,
    )
    return position


async def count_below(conn: Connection, room_nid: int, position: int, limit: int) -> int:
    """How many events the timeline has below a position, counted up to `limit`."""
    count: int = await conn.fetchval(
        "SELECT count(*) FROM (SELECT FROM events WHERE room_nid = $1 AND position < $2 LIMIT $3) AS e",
        room_nid,
        position,
        limit,
    )
    return count


async def lowest(conn: Connection, room_nid: int) -> int:
    """The position of the oldest event in the room's timeline; 0 if it has none."""
    position: int = await conn.fetchval(
        "SELECT coalesce(min(position), 0) FROM events WHERE room_nid = $1 AND position IS NOT NULL", room_nid
    )
    return position


async def lowest_ts(conn: Connection, room_nid: int) -> int | None:
    """When the oldest event in the room's timeline was sent."""
    ts: int | None = await conn.fetchval(
        "SELECT origin_server_ts FROM events WHERE room_nid = $1 AND position IS NOT NULL ORDER BY position LIMIT 1",
        room_nid,
    )
    return ts


async def oldest_senders(conn: Connection, room_nid: int, limit: int) -> list[int]:
    """Who sent the oldest events that we have, by number."""
    rows = await conn.fetch(
        "SELECT sender_nid FROM events WHERE room_nid = $1 AND position IS NOT NULL ORDER BY position LIMIT $2",
        room_nid,
        limit,
    )
    return [row[0] for row in rows]


async def differences(
    conn: Connection, room_nid: int, base_sp: int, event_ids: Sequence[str]
) -> dict[int, int | None]:
    """How a state, told by its events, differs from the main line at a point; rejected events are no part of it."""
    rows = await conn.fetch(
        """
        WITH told AS (
            SELECT key_nid, max(event_nid) AS event_nid FROM events
             WHERE event_id = ANY ($3::text[]) AND room_nid = $1 AND key_nid IS NOT NULL AND status <> 1
             GROUP BY key_nid
        ), line AS (
            SELECT * FROM (SELECT DISTINCT ON (key_nid) key_nid, event_nid FROM state_log
                            WHERE room_nid = $1 AND sp <= $2 ORDER BY key_nid, sp DESC) AS l
             WHERE event_nid IS NOT NULL
        )
        SELECT key_nid, told.event_nid FROM told FULL JOIN line USING (key_nid)
         WHERE told.event_nid IS DISTINCT FROM line.event_nid
        """,
        room_nid,
        base_sp,
        list(event_ids),
    )
    return {row[0]: row[1] for row in rows}


async def place(conn: Connection, stretch: Stretch) -> None:
    """Put events in front of an edge, in the place of outliers where they were such.

    Positions are given out while the clock is locked, so two stretches never share one. Raises UniqueViolation where
    one of the events has come another way meanwhile, PlaceTaken where the gap is not what it was.
    """
    overlays = await intern_overlays(conn, stretch.room_nid, stretch.points)
    above = stretch.position or min(await lowest(conn, stretch.room_nid), 0)
    if stretch.position:
        await _require_free(conn, stretch, above)
    await conn.execute(
        "DELETE FROM events WHERE event_nid = ANY ($1::bigint[]) AND state_sp IS NULL",
        [event.event_nid for event in stretch.events],
    )
    positions = _positions(stretch.events, above)
    records = [
        (
            stretch.room_nid, e.event_nid, e.event_id, e.origin_server_ts, e.sender_nid, e.type, e.key_nid,
            e.state_sp, overlay, e.line_sp, False, e.status, e.rejection, position, e.prev_nids, e.auth_nids,
            e.chain, e.chain_seq, e.chain_links, e.json,
        )
        for e, overlay, position in zip(stretch.events, overlays, positions, strict=True)
    ]  # fmt: skip
    await conn.copy_records_to_table("events", records=records, columns=_COLUMNS)
    await _write_links(conn, stretch, positions)


async def _require_free(conn: Connection, stretch: Stretch, above: int) -> None:
    count = sum(event.in_timeline for event in stretch.events)
    taken = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM events WHERE room_nid = $1 AND position >= $2 AND position < $3)",
        stretch.room_nid,
        above - count,
        above,
    )
    if taken:
        raise PlaceTaken


async def _write_links(conn: Connection, stretch: Stretch, positions: Sequence[int | None]) -> None:
    room_nid = stretch.room_nid
    relations = [
        (r.child_nid, positions[r.event_index], room_nid, r.sender_nid, r.parent_id, r.rel_type, r.child_type)
        for r in stretch.relations
    ]
    redactions = [(r.redaction_nid, r.redacts, room_nid, r.applies) for r in stretch.redactions]
    missing = [(room_nid, event_id, nid) for event_id, nid in stretch.missing]
    found = [(room_nid, event.event_id) for event in stretch.events]
    for statement, rows, width in (
        (RELATIONS, relations, 7),
        (REDACTIONS, redactions, 4),
        (MISSING, missing, 3),
        (FOUND, found, 2),
    ):
        if rows:
            await conn.execute(statement, *columns(rows, width))


def _positions(events: Sequence[EventRow], lowest: int) -> list[int | None]:
    """Numbers below `lowest`, the newest event nearest to it."""
    position = lowest - sum(event.in_timeline for event in events)
    positions: list[int | None] = []
    for event in events:
        positions.append(position if event.in_timeline else None)
        position += event.in_timeline
    return positions
