"""Which servers are in rooms, by their joined members: now, and how that changed along the main line."""

from collections.abc import Iterable, Sequence

import msgspec
from attrs import frozen

from storage.database import Connection, Row


@frozen
class Residents:
    """How many joined members each server has in a room, at the main line's length `sp`."""

    sp: int
    joined: dict[str, int]


@frozen
class MemberMove:
    """An entry of the main line by which a user of `server` came into a room, or left it."""

    sp: int
    server: str
    joins: bool


class _Content(msgspec.Struct):
    membership: str = ""


class _Member(msgspec.Struct):
    content: _Content


_MEMBER = msgspec.json.Decoder(_Member)


async def residents(conn: Connection, room_nids: Iterable[int]) -> dict[int, Residents]:
    """The servers in rooms as they are now; rooms we have never been in are left out."""
    rows = await conn.fetch(
        """
        SELECT h.room_nid, h.sp, s.server, s.joined
          FROM room_heads h
          LEFT JOIN LATERAL (
                SELECT substr(k.state_key, strpos(k.state_key, ':') + 1) AS server, count(*)::int AS joined
                  FROM current_state c JOIN state_keys k USING (key_nid)
                 WHERE c.room_nid = h.room_nid AND c.membership = 1
                 GROUP BY 1
          ) s ON true
         WHERE h.room_nid = ANY($1::int[])
        """,
        list(room_nids),
    )
    found: dict[int, Residents] = {}
    for row in rows:
        room = found.setdefault(row["room_nid"], Residents(row["sp"], {}))
        if row["server"] is not None:
            room.joined[row["server"]] = row["joined"]
    return found


async def line_lengths(conn: Connection, room_nids: Iterable[int]) -> dict[int, int]:
    """How long the main line of rooms is now."""
    rows = await conn.fetch(
        "SELECT room_nid, sp FROM room_heads WHERE room_nid = ANY($1::int[])", list(room_nids)
    )
    return {row[0]: row[1] for row in rows}


async def member_moves(
    conn: Connection, spans: Sequence[tuple[int, int, int]]
) -> dict[int, list[MemberMove]]:
    """For (room_nid, low, high]: who came and who left in that part of the main line, in its order."""
    rows = await conn.fetch(
        """
        SELECT l.room_nid, l.sp, substr(k.state_key, strpos(k.state_key, ':') + 1) AS server,
               e.json AS after, b.json AS before
          FROM unnest($1::int[], $2::int[], $3::int[]) AS w(room_nid, low, high)
          JOIN state_log l ON l.room_nid = w.room_nid AND l.sp > w.low AND l.sp <= w.high
          JOIN state_keys k ON k.key_nid = l.key_nid AND k.type = 'm.room.member'
          LEFT JOIN LATERAL (SELECT p.event_nid FROM state_log p
                              WHERE p.room_nid = l.room_nid AND p.key_nid = l.key_nid AND p.sp < l.sp
                              ORDER BY p.sp DESC LIMIT 1) AS previous ON true
          LEFT JOIN events e ON e.event_nid = l.event_nid
          LEFT JOIN events b ON b.event_nid = previous.event_nid
         ORDER BY l.room_nid, l.sp
        """,
        [span[0] for span in spans],
        [span[1] for span in spans],
        [span[2] for span in spans],
    )
    moves: dict[int, list[MemberMove]] = {}
    for row in rows:
        joined, was = membership(row["after"]) == "join", membership(row["before"]) == "join"
        if joined != was:
            moves.setdefault(row["room_nid"], []).append(MemberMove(row["sp"], row["server"], joined))
    return moves


async def memberships_at(
    conn: Connection, points: Sequence[tuple[int, int, int]]
) -> dict[tuple[int, int, int], str]:
    """For (room_nid, key_nid, sp): what the member was at that length of the main line."""
    rows = await conn.fetch(
        """
        SELECT w.room_nid, w.key_nid, w.sp, e.json
          FROM unnest($1::int[], $2::int[], $3::int[]) AS w(room_nid, key_nid, sp)
          CROSS JOIN LATERAL (SELECT l.event_nid FROM state_log l
                               WHERE l.room_nid = w.room_nid AND l.key_nid = w.key_nid AND l.sp <= w.sp
                               ORDER BY l.sp DESC LIMIT 1) AS entry
          JOIN events e ON e.event_nid = entry.event_nid
        """,
        [point[0] for point in points],
        [point[1] for point in points],
        [point[2] for point in points],
    )
    return {(row[0], row[1], row[2]): membership(row[3]) for row in rows}


async def rooms_of_users(conn: Connection, user_nids: Iterable[int]) -> dict[int, list[int]]:
    """The rooms that users, ours or others', are joined to."""
    rows: list[Row] = await conn.fetch(
        "SELECT key_nid, room_nid FROM current_state WHERE key_nid = ANY($1::int[]) AND membership = 1",
        list(user_nids),
    )
    found: dict[int, list[int]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(row[1])
    return found


def membership(json: bytes | None) -> str:
    """What a stored member event says; events of old room versions may be odd, and then say nothing."""
    if json is None:
        return ""
    try:
        return _MEMBER.decode(json).content.membership
    except (msgspec.DecodeError, RecursionError):
        return ""
