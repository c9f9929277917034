"""Who is in which room: our own users by `local_memberships`, everybody by the members in `current_state`."""

from collections.abc import Iterable

from attrs import frozen

from storage.database import Connection
from storage.room_batches import MEMBERSHIPS

JOIN, INVITE = MEMBERSHIPS["join"], MEMBERSHIPS["invite"]


@frozen
class LocalMembership:
    """What a room is to one of our users."""

    room_nid: int
    membership: int
    event_nid: int
    position: int
    forgotten: bool
    stripped_state: str | None


async def joined_rooms(conn: Connection, user_nid: int) -> list[int]:
    """The rooms that one of our users is joined to."""
    rows = await conn.fetch(
        "SELECT room_nid FROM local_memberships WHERE user_nid = $1 AND membership = $2", user_nid, JOIN
    )
    return [row[0] for row in rows]


async def local_memberships(
    conn: Connection, user_nid: int, *, after: int = 0, memberships: Iterable[int] | None = None
) -> list[LocalMembership]:
    """All rooms that concern one of our users, whose membership changed after a position."""
    rows = await conn.fetch(
        """
        SELECT room_nid, membership, event_nid, position, forgotten, stripped_state
          FROM local_memberships
         WHERE user_nid = $1 AND position > $2 AND ($3::smallint[] IS NULL OR membership = ANY($3))
        """,
        user_nid,
        after,
        None if memberships is None else list(memberships),
    )
    return [LocalMembership(*row) for row in rows]


async def local_membership(conn: Connection, user_nid: int, room_nid: int) -> LocalMembership | None:
    """What one room is to one of our users; None: it never concerned them."""
    row = await conn.fetchrow(
        """
        SELECT room_nid, membership, event_nid, position, forgotten, stripped_state
          FROM local_memberships WHERE user_nid = $1 AND room_nid = $2
        """,
        user_nid,
        room_nid,
    )
    return None if row is None else LocalMembership(*row)


async def local_joined(conn: Connection, room_nid: int) -> list[int]:
    """Our own users in a room."""
    rows = await conn.fetch(
        "SELECT user_nid FROM local_memberships WHERE room_nid = $1 AND membership = 1", room_nid
    )
    return [row[0] for row in rows]


async def members(conn: Connection, room_nid: int, memberships: Iterable[int]) -> list[tuple[int, int]]:
    """(user_nid, event_nid) of everybody with one of these memberships now, oldest event first."""
    rows = await conn.fetch(
        """
        SELECT key_nid, event_nid FROM current_state
         WHERE room_nid = $1 AND membership = ANY($2::smallint[])
         ORDER BY event_nid
        """,
        room_nid,
        list(memberships),
    )
    return [(row[0], row[1]) for row in rows]


async def sharing_rooms(conn: Connection, user_nid: int) -> list[int]:
    """Users of any server who are joined to a room together with `user_nid`, themselves excluded."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT other.key_nid
          FROM current_state mine
          JOIN current_state other ON other.room_nid = mine.room_nid AND other.membership = 1
         WHERE mine.key_nid = $1 AND mine.membership = 1 AND other.key_nid <> $1
        """,
        user_nid,
    )
    return [row[0] for row in rows]


async def forget(conn: Connection, user_nid: int, room_nid: int) -> None:
    """The room is not shown to the user any more, until they enter it again."""
    await conn.execute(
        "UPDATE local_memberships SET forgotten = true"
        " WHERE user_nid = $1 AND room_nid = $2 AND membership IN (4, 5)",
        user_nid,
        room_nid,
    )


async def share_room(conn: Connection, user_nid: int, other_nid: int) -> bool:
    """Are two users in a room together?"""
    shared: bool = await conn.fetchval(
        """
        SELECT EXISTS (SELECT 1 FROM current_state one JOIN current_state other USING (room_nid)
                        WHERE one.key_nid = $1 AND other.key_nid = $2
                          AND one.membership = 1 AND other.membership = 1)
        """,
        user_nid,
        other_nid,
    )
    return shared


async def rooms_of(conn: Connection, user_nids: Iterable[int]) -> dict[int, list[int]]:
    """The rooms that users of any server are joined to, as far as we know; who is in none is left out."""
    rows = await conn.fetch(
        """
        SELECT key_nid, array_agg(room_nid) FROM current_state
         WHERE key_nid = ANY($1::int[]) AND membership = 1 GROUP BY key_nid
        """,
        list(user_nids),
    )
    return {row[0]: row[1] for row in rows}


async def rooms_with_guests(conn: Connection, room_nids: Iterable[int]) -> list[int]:
    """Those of the rooms that guest accounts of ours are in."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT m.room_nid FROM local_memberships m JOIN accounts a USING (user_nid)
         WHERE m.room_nid = ANY($1::int[]) AND m.membership = 1 AND a.guest
        """,
        list(room_nids),
    )
    return [row[0] for row in rows]


async def joined_guests(conn: Connection, room_nid: int) -> list[str]:
    """Guest accounts of ours in a room."""
    rows = await conn.fetch(
        """
        SELECT a.user_id FROM local_memberships m JOIN accounts a USING (user_nid)
         WHERE m.room_nid = $1 AND m.membership = 1 AND a.guest
        """,
        room_nid,
    )
    return [row[0] for row in rows]


async def shared_rooms(
    conn: Connection, user_nid: int, other_nid: int, *, after: str, limit: int
) -> tuple[list[str], int]:
    """The ids after one of the rooms that two users are in together, and how many there are in all."""
    rows = await conn.fetch(
        """
        WITH shared AS (
            SELECT r.room_id FROM current_state one JOIN current_state other USING (room_nid)
              JOIN rooms r USING (room_nid)
             WHERE one.key_nid = $1 AND other.key_nid = $2 AND one.membership = 1 AND other.membership = 1)
        SELECT room_id, (SELECT count(*) FROM shared) FROM shared
         WHERE room_id > $3 COLLATE "C" ORDER BY room_id COLLATE "C" LIMIT $4
        """,
        user_nid,
        other_nid,
        after,
        limit,
    )
    return [row[0] for row in rows], rows[0][1] if rows else 0
