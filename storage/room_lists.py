"""What a user's list of rooms is made of: memberships, activity, and the little state that lists are filtered by."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from storage.database import Connection
from storage.user_news import UserRoom

BUMP_TYPES = (  # [MSC4186 "RoomResult" `bump_stamp`]
    "m.room.create",
    "m.room.message",
    "m.room.encrypted",
    "m.sticker",
    "m.call.invite",
    "m.poll.start",
    "m.beacon_info",
)
MAX_SCANNED = 2_000  # events of a room that are looked at for the last one of these types

_COLUMNS = """
    m.room_nid, m.membership, m.event_nid, m.position, m.forgotten, m.stripped_state, r.room_id,
    h.position, coalesce(h.sp, 0), coalesce(h.joined, 0), coalesce(h.invited, 0)
"""


_LISTED = """
    m.room_nid, r.room_id, m.membership, m.forgotten, m.stripped_state, coalesce(h.position, 0), coalesce(h.sp, 0),
    CASE WHEN m.membership = 1 THEN greatest(m.position, h.position) ELSE m.position END AS activity,
    CASE WHEN m.membership IN (4, 5)
         THEN (SELECT e.sender_nid FROM events e WHERE e.event_nid = m.event_nid) END
"""


class Listed(NamedTuple):
    """A room as it concerns a user. A tuple, because an account may bring thousands at once.

    `activity`: when something last happened that the user may know of. `ended_by`: who wrote the event by which the
    user is not in it.
    """

    room_nid: int
    room_id: str
    membership: int
    forgotten: bool
    stripped_state: str | None
    head_position: int
    head_sp: int
    activity: int
    ended_by: int | None


async def all_rooms(conn: Connection, user_nid: int) -> list[Listed]:
    """Every room that concerns the user, forgotten ones aside; the most active last."""
    rows = await conn.fetch(
        f"""
        SELECT {_LISTED}
          FROM local_memberships m
          JOIN rooms r USING (room_nid)
          LEFT JOIN room_heads h USING (room_nid)
         WHERE m.user_nid = $1 AND NOT m.forgotten
         ORDER BY activity
        """,  # noqa: S608 (our own column names)
        user_nid,
    )
    return [Listed(*row) for row in rows]


async def some_rooms(conn: Connection, user_nid: int, room_nids: Iterable[int], after: int) -> list[Listed]:
    """These rooms, and those in which the user's membership changed after a position; also forgotten ones."""
    rows = await conn.fetch(
        f"""
        SELECT {_LISTED}
          FROM local_memberships m
          JOIN rooms r USING (room_nid)
          LEFT JOIN room_heads h USING (room_nid)
         WHERE m.user_nid = $1 AND (m.room_nid = ANY($2::int[]) OR m.position > $3)
        """,  # noqa: S608 (our own column names)
        user_nid,
        list(room_nids),
        after,
    )
    return [Listed(*row) for row in rows]


async def changed_rooms(
    conn: Connection, user_nid: int, after: int, left_nids: Iterable[int]
) -> list[Listed]:
    """The rooms that moved after a position, and those of `left_nids` that have been forgotten."""
    rows = await conn.fetch(
        f"""
        SELECT {_LISTED}
          FROM local_memberships m
          JOIN rooms r USING (room_nid)
          LEFT JOIN room_heads h USING (room_nid)
         WHERE m.user_nid = $1
           AND (m.position > $2 OR h.position > $2 OR m.forgotten AND m.room_nid = ANY($3::int[]))
        """,  # noqa: S608 (our own column names)
        user_nid,
        after,
        list(left_nids),
    )
    return [Listed(*row) for row in rows]


async def these_rooms(conn: Connection, user_nid: int, room_nids: Iterable[int]) -> list[UserRoom]:
    """These rooms only."""
    rows = await conn.fetch(
        f"""
        SELECT {_COLUMNS}
          FROM unnest($2::int[]) AS n(room_nid)
          JOIN local_memberships m ON m.user_nid = $1 AND m.room_nid = n.room_nid
          JOIN rooms r ON r.room_nid = n.room_nid
          LEFT JOIN room_heads h ON h.room_nid = n.room_nid
        """,  # noqa: S608 (our own column names)
        user_nid,
        list(room_nids),
    )
    return [UserRoom(*row) for row in rows]


async def having_state(conn: Connection, room_nids: Iterable[int], kind: str) -> set[int]:
    """Those of the rooms that have state of this type under the empty key."""
    rows = await conn.fetch(
        """
        SELECT c.room_nid
          FROM unnest($1::int[]) AS n(room_nid)
          JOIN current_state c ON c.room_nid = n.room_nid
           AND c.key_nid = (SELECT key_nid FROM state_keys WHERE type = $2 AND state_key = '')
        """,
        list(room_nids),
        kind,
    )
    return {row[0] for row in rows}


async def room_types(conn: Connection, room_nids: Iterable[int]) -> dict[int, bytes]:
    """The create events, as bytes, of those of the rooms that may be of a special type."""
    # Rooms are not of a special type, mostly: those whose text cannot say one are left where they are.
    return await _state(
        conn, room_nids, "m.room.create", "convert_from(e.json, 'UTF8') LIKE '%\"type\":%\"type\":%'"
    )


async def room_names(conn: Connection, room_nids: Iterable[int]) -> dict[int, bytes]:
    """The name events, as bytes, of those of the rooms that have one."""
    return await _state(conn, room_nids, "m.room.name", "e.redacted_by IS NULL")


async def _state(conn: Connection, room_nids: Iterable[int], kind: str, condition: str) -> dict[int, bytes]:
    rows = await conn.fetch(
        f"""
        SELECT c.room_nid, e.json
          FROM unnest($1::int[]) AS n(room_nid)
          JOIN current_state c ON c.room_nid = n.room_nid
           AND c.key_nid = (SELECT key_nid FROM state_keys WHERE type = $2 AND state_key = '')
          JOIN events e ON e.event_nid = c.event_nid
         WHERE {condition}
        """,  # noqa: S608 (our own words)
        list(room_nids),
        kind,
    )
    return {row[0]: row[1] for row in rows}


async def account_data(
    conn: Connection, user_nid: int, after: int, types: Sequence[str]
) -> list[tuple[int, str, str | None]]:
    """(room_nid, type, content) of a user's account data of these types that changed after a position."""
    rows = await conn.fetch(
        """
        SELECT room_nid, type, content FROM account_data
         WHERE user_nid = $1 AND position > $2 AND type = ANY($3::text[])
        """,
        user_nid,
        after,
        list(types),
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def bump_stamps(conn: Connection, places: Sequence[tuple[int, int, int]]) -> dict[int, int]:
    """For (room_nid, after, upto): the last event there that makes a room stand out in a list."""
    rows = await conn.fetch(
        """
        SELECT n.room_nid, max(e.position)
          FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS n(room_nid, low, high)
         CROSS JOIN LATERAL (
               SELECT position FROM (
                   SELECT position, type FROM events
                    WHERE room_nid = n.room_nid AND position > n.low AND position <= n.high
                    ORDER BY position DESC LIMIT $5) AS last
                WHERE type = ANY($4::text[]) ORDER BY position DESC LIMIT 1) AS e
         GROUP BY n.room_nid
        """,
        [place[0] for place in places],
        [place[1] for place in places],
        [place[2] for place in places],
        list(BUMP_TYPES),
        MAX_SCANNED,
    )
    return {row[0]: row[1] for row in rows}


async def state_of_keys(
    conn: Connection, room_nids: Iterable[int], key_nids: Iterable[int]
) -> dict[int, dict[int, int]]:
    """room_nid -> key_nid -> event_nid now, for those of the keys that are set."""
    rows = await conn.fetch(
        """
        SELECT n.room_nid, c.key_nid, c.event_nid
          FROM unnest($1::int[]) AS n(room_nid)
          JOIN current_state c ON c.room_nid = n.room_nid AND c.key_nid = ANY($2::int[])
        """,
        list(room_nids),
        list(key_nids),
    )
    found: dict[int, dict[int, int]] = {}
    for row in rows:
        found.setdefault(row[0], {})[row[1]] = row[2]
    return found
