"""Rooms that we are not in: what other servers, or our own users, said about memberships of ours there.

The event is an outlier (no place in a timeline we know), the room has a number and a version but no head.
"""

from collections.abc import Collection

from attrs import field, frozen

from homeserver.core.room_versions import RoomVersion
from storage.database import Connection
from storage.room_batches import OUTLIER


@frozen(kw_only=True)
class MemberRow:
    """A membership of one of our users, by an event of a room we may know nothing else of.

    `room_nid` and `event_nid` are the numbers for a room and an event that have none yet.
    """

    room_nid: int
    room_id: str
    version: RoomVersion
    event_nid: int
    event_id: str
    sender_nid: int
    user_nid: int
    membership: int
    origin_server_ts: int
    stripped_state: str | None
    json: bytes = field(repr=False)


async def set_membership(
    conn: Connection, row: MemberRow, position: int, before: Collection[int]
) -> tuple[int, bool]:
    """Store the event, and what the room is to the user from `position` on.

    Only where it is one of `before` now (0: nothing yet); gives the room's number and whether it was.
    """
    room_nid = await _room(conn, row)
    event_nid = await _outlier(conn, row, room_nid)
    changed = await conn.fetchval(
        """
        INSERT INTO local_memberships AS old
               (user_nid, room_nid, membership, event_nid, position, stripped_state)
        SELECT $1, $2, $3, $4, $5, $6
         WHERE coalesce((SELECT membership FROM local_memberships
                          WHERE user_nid = $1 AND room_nid = $2), 0) = ANY($7::smallint[])
        ON CONFLICT (user_nid, room_nid)
        DO UPDATE SET membership = excluded.membership, event_nid = excluded.event_nid,
                      position = excluded.position, stripped_state = excluded.stripped_state,
                      forgotten = false
        RETURNING true
        """,
        row.user_nid,
        room_nid,
        row.membership,
        event_nid,
        position,
        row.stripped_state,
        list(before),
    )
    return room_nid, bool(changed)


async def _room(conn: Connection, row: MemberRow) -> int:
    """The room's number. Its version is the one told last, until we are in it."""
    room_nid: int = await conn.fetchval(
        """
        INSERT INTO rooms AS old (room_nid, room_id, version, created_ts) VALUES ($1, $2, $3, $4)
        ON CONFLICT (room_id) DO UPDATE
           SET version = CASE WHEN EXISTS (SELECT FROM room_heads h WHERE h.room_nid = old.room_nid)
                              THEN old.version ELSE excluded.version END
        RETURNING room_nid
        """,
        row.room_nid,
        row.room_id,
        row.version.name,
        row.origin_server_ts,
    )
    return room_nid


async def _outlier(conn: Connection, row: MemberRow, room_nid: int) -> int:
    """The event's number: stored now, unless it is known."""
    event_nid: int = await conn.fetchval(
        """
        WITH new AS (
            INSERT INTO events (event_nid, event_id, room_nid, origin_server_ts, sender_nid, key_nid, status,
                                on_line, type, prev_nids, auth_nids, json)
            VALUES ($1, $2, $3, $4, $5, $6, $7, false, 'm.room.member', '{}', '{}', $8)
            ON CONFLICT (event_id) DO NOTHING RETURNING event_nid
        )
        SELECT event_nid FROM new UNION ALL SELECT event_nid FROM events WHERE event_id = $2 LIMIT 1
        """,
        row.event_nid,
        row.event_id,
        room_nid,
        row.origin_server_ts,
        row.sender_nid,
        row.user_nid,
        OUTLIER,
        row.json,
    )
    return event_nid


async def is_resident(conn: Connection, room_nid: int) -> bool:
    """Is one of our users joined to the room, so that we know and follow its state?"""
    return bool(
        await conn.fetchval(
            "SELECT EXISTS (SELECT FROM local_memberships WHERE room_nid = $1 AND membership = 1)", room_nid
        )
    )


async def has_head(conn: Connection, room_nid: int) -> bool:
    """Have we ever been in the room?"""
    return bool(
        await conn.fetchval(
            "SELECT EXISTS (SELECT FROM room_heads WHERE room_nid = $1 AND extremities <> '{}')", room_nid
        )
    )


async def joined_servers(conn: Connection, room_nid: int) -> list[str]:
    """The servers in the room, as far as we know or knew it, those with most members first."""
    rows = await conn.fetch(
        """
        SELECT substr(k.state_key, strpos(k.state_key, ':') + 1) AS server
          FROM current_state c JOIN state_keys k USING (key_nid)
         WHERE c.room_nid = $1 AND c.membership = 1
         GROUP BY server ORDER BY count(*) DESC, server
        """,
        room_nid,
    )
    return [row[0] for row in rows]


async def without_members(conn: Connection, nids: Collection[int]) -> list[int]:
    """Those of the events that are no member events."""
    rows = await conn.fetch(
        "SELECT event_nid FROM events WHERE event_nid = ANY($1::bigint[]) AND type <> 'm.room.member'"
        " ORDER BY event_nid",
        list(nids),
    )
    return [row[0] for row in rows]
