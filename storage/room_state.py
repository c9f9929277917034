"""State of rooms: now, at a point of the main line, and what changed between two points.

The main line (`state_log`) has a row whenever our resolved current state changed; a point on it is `sp`, the number of
changes so far. `current_state` is its end, the hot path. States on forks are overlays over a point.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from storage.database import Connection


@frozen
class StatePoint:
    """A state of a room: the main line at `sp`, with differences (key_nid -> event_nid, or None: absent)."""

    sp: int
    overlay: Mapping[int, int | None] = {}


async def current(conn: Connection, room_nid: int, key_nids: Iterable[int]) -> dict[int, int]:
    """key_nid -> event_nid now, for those of the keys that are set."""
    rows = await conn.fetch(
        "SELECT key_nid, event_nid FROM current_state WHERE room_nid = $1 AND key_nid = ANY($2::int[])",
        room_nid,
        list(key_nids),
    )
    return {row[0]: row[1] for row in rows}


async def still_current(conn: Connection, entries: Sequence[tuple[int, int, int]]) -> set[int]:
    """Those events, of (room, key, event), that are their room's state now."""
    rows = await conn.fetch(
        """
        SELECT c.event_nid
          FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS n(room_nid, key_nid, event_nid)
          JOIN current_state c USING (room_nid, key_nid, event_nid)
        """,
        [entry[0] for entry in entries],
        [entry[1] for entry in entries],
        [entry[2] for entry in entries],
    )
    return {row[0] for row in rows}


async def at(conn: Connection, room_nid: int, sp: int, key_nids: Iterable[int]) -> dict[int, int]:
    """key_nid -> event_nid on the main line at `sp`, for those of the keys that were set then."""
    rows = await conn.fetch(
        """
        SELECT k.key_nid, l.event_nid
          FROM unnest($2::int[]) AS k(key_nid)
         CROSS JOIN LATERAL (SELECT event_nid FROM state_log
                              WHERE room_nid = $1 AND key_nid = k.key_nid AND sp <= $3
                              ORDER BY sp DESC LIMIT 1) AS l
         WHERE l.event_nid IS NOT NULL
        """,
        room_nid,
        list(key_nids),
        sp,
    )
    return {row[0]: row[1] for row in rows}


async def at_point(
    conn: Connection, room_nid: int, point: StatePoint, key_nids: Iterable[int]
) -> dict[int, int]:
    """Like `at`, on a fork."""
    wanted = set(key_nids)
    found = {key: point.overlay[key] for key in wanted if key in point.overlay}
    state = await at(conn, room_nid, point.sp, wanted - found.keys()) if wanted - found.keys() else {}
    return state | {key: nid for key, nid in found.items() if nid is not None}


async def changed_keys(conn: Connection, room_nid: int, low: int, high: int) -> list[int]:
    """Keys with an entry on the main line in (low, high]."""
    rows = await conn.fetch(
        "SELECT DISTINCT key_nid FROM state_log WHERE room_nid = $1 AND sp > $2 AND sp <= $3",
        room_nid,
        low,
        high,
    )
    return [row[0] for row in rows]


async def whole(conn: Connection, room_nid: int, point: StatePoint) -> dict[int, int]:
    """The whole state at a point: the current one with what changed since undone."""
    rows = await conn.fetch(
        """
        WITH later AS (
            SELECT DISTINCT key_nid FROM state_log WHERE room_nid = $1 AND sp > $2
        )
        SELECT c.key_nid, c.event_nid FROM current_state c
         WHERE c.room_nid = $1 AND c.key_nid NOT IN (SELECT key_nid FROM later)
        UNION ALL
        SELECT later.key_nid, l.event_nid FROM later
         CROSS JOIN LATERAL (SELECT event_nid FROM state_log
                              WHERE room_nid = $1 AND key_nid = later.key_nid AND sp <= $2
                              ORDER BY sp DESC LIMIT 1) AS l
         WHERE l.event_nid IS NOT NULL
        """,
        room_nid,
        point.sp,
    )
    state: dict[int, int] = {row[0]: row[1] for row in rows}
    for key, nid in point.overlay.items():
        if nid is None:
            state.pop(key, None)
        else:
            state[key] = nid
    return state


async def history(
    conn: Connection, room_nid: int, key_nids: Iterable[int], low: int, high: int
) -> list[tuple[int, int, int | None]]:
    """(key_nid, sp, event_nid) in order of sp: the value in force at `low`, then every change up to `high`."""
    rows = await conn.fetch(
        """
        SELECT k.key_nid, l.sp, l.event_nid
          FROM unnest($2::int[]) AS k(key_nid)
         CROSS JOIN LATERAL (
                (SELECT sp, event_nid FROM state_log
                  WHERE room_nid = $1 AND key_nid = k.key_nid AND sp <= $3 ORDER BY sp DESC LIMIT 1)
                UNION ALL
                SELECT sp, event_nid FROM state_log
                 WHERE room_nid = $1 AND key_nid = k.key_nid AND sp > $3 AND sp <= $4) AS l
         ORDER BY l.sp
        """,
        room_nid,
        list(key_nids),
        low,
        high,
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def replaced(conn: Connection, entries: list[tuple[int, int, int]]) -> dict[tuple[int, int, int], int]:
    """For entries (room_nid, key_nid, sp) of main lines: the event that each of them replaced."""
    rows = await conn.fetch(
        """
        SELECT n.room_nid, n.key_nid, n.sp, l.event_nid
          FROM unnest($1::int[], $2::int[], $3::int[]) AS n(room_nid, key_nid, sp)
         CROSS JOIN LATERAL (SELECT event_nid FROM state_log l
                              WHERE l.room_nid = n.room_nid AND l.key_nid = n.key_nid AND l.sp < n.sp
                              ORDER BY l.sp DESC LIMIT 1) AS l
         WHERE l.event_nid IS NOT NULL
        """,
        *([list(column) for column in zip(*entries, strict=True)] if entries else ([], [], [])),
    )
    return {(row[0], row[1], row[2]): row[3] for row in rows}


async def load_overlays(conn: Connection, overlay_nids: Iterable[int]) -> dict[int, StatePoint]:
    """The points that overlay numbers stand for."""
    rows = await conn.fetch(
        "SELECT overlay_nid, base_sp, key_nids, event_nids FROM state_overlays"
        " WHERE overlay_nid = ANY($1::bigint[])",
        list(overlay_nids),
    )
    return {
        row[0]: StatePoint(row[1], {key: nid or None for key, nid in zip(row[2], row[3], strict=True)})
        for row in rows
    }


async def intern_overlay(conn: Connection, room_nid: int, point: StatePoint) -> int | None:
    """The number of a point's overlay, the same for the same content; None for a point on the main line."""
    return (await intern_overlays(conn, room_nid, [point]))[0]


async def intern_overlays(conn: Connection, room_nid: int, points: Sequence[StatePoint]) -> list[int | None]:
    """The same for several points."""
    rows = {_digest(point): point for point in points if point.overlay}
    found = (
        await conn.fetch(
            """
        INSERT INTO state_overlays (room_nid, base_sp, digest, key_nids, event_nids)
        SELECT $1, n.base_sp, n.digest, n.key_nids::int[], n.event_nids::bigint[]
          FROM unnest($2::int[], $3::bytea[], $4::text[], $5::text[]) AS n(base_sp, digest, key_nids, event_nids)
        ON CONFLICT (room_nid, digest) DO UPDATE SET digest = excluded.digest
        RETURNING digest, overlay_nid
        """,
            room_nid,
            [point.sp for point in rows.values()],
            list(rows),
            [_array(sorted(point.overlay)) for point in rows.values()],
            [_array([point.overlay[key] or 0 for key in sorted(point.overlay)]) for point in rows.values()],
        )
        if rows
        else []
    )
    numbers = {row[0]: row[1] for row in found}
    return [numbers[_digest(point)] if point.overlay else None for point in points]


def _digest(point: StatePoint) -> bytes:
    keys = sorted(point.overlay)
    nids = [point.overlay[key] or 0 for key in keys]
    return hashlib.sha256(repr((point.sp, keys, nids)).encode()).digest()


def _array(numbers: Iterable[int]) -> str:
    """PostgreSQL's text form of an array of integers."""
    return "{" + ",".join(map(str, numbers)) + "}"


async def deltas(
    conn: Connection, stretches: Iterable[tuple[int, int, int]]
) -> dict[int, dict[int, int | None]]:
    """For (room_nid, low, high): what the main line changed in (low, high], room_nid -> key_nid -> event_nid."""
    wanted = list(stretches)
    rows = await conn.fetch(
        """
        SELECT DISTINCT ON (l.room_nid, l.key_nid) l.room_nid, l.key_nid, l.event_nid
          FROM unnest($1::int[], $2::int[], $3::int[]) AS n(room_nid, low, high)
          JOIN state_log l ON l.room_nid = n.room_nid AND l.sp > n.low AND l.sp <= n.high
         ORDER BY l.room_nid, l.key_nid, l.sp DESC
        """,
        *([list(column) for column in zip(*wanted, strict=True)] if wanted else ([], [], [])),
    )
    found: dict[int, dict[int, int | None]] = {}
    for row in rows:
        found.setdefault(row[0], {})[row[1]] = row[2]
    return found


async def whole_current(
    conn: Connection, room_nids: Iterable[int], *, members: bool
) -> dict[int, dict[int, int | None]]:
    """The whole current state of rooms, room_nid -> key_nid -> event_nid, with or without their members."""
    rows = await conn.fetch(
        """
        SELECT room_nid, key_nid, event_nid FROM current_state
         WHERE room_nid = ANY($1::int[]) AND ($2 OR membership IS NULL)
        """,
        list(room_nids),
        members,
    )
    found: dict[int, dict[int, int | None]] = {}
    for row in rows:
        found.setdefault(row[0], {})[row[1]] = row[2]
    return found


@frozen
class StateEntry:
    """A state event as an entry of some state, without its content."""

    event_id: str
    nid: int
    key_nid: int
    status: int


async def entries_of(conn: Connection, room_nid: int, event_ids: Iterable[str]) -> list[StateEntry]:
    """Those of the events that are known state events of the room."""
    rows = await conn.fetch(
        "SELECT event_id, event_nid, key_nid, status FROM events"
        " WHERE event_id = ANY($1::text[]) AND room_nid = $2 AND key_nid IS NOT NULL",
        list(event_ids),
        room_nid,
    )
    return [StateEntry(row[0], row[1], row[2], row[3]) for row in rows]
