"""What a restricted join needs to know: is somebody in one of these rooms, and who of ours is in this one."""

from collections.abc import Collection, Iterable

from attrs import frozen

from storage.database import Connection


@frozen
class Conditions:
    """What we can say of somebody's membership of some rooms. `unknown`: we are not in all of these rooms."""

    joined: bool
    unknown: bool


async def conditions(conn: Connection, user_nid: int, room_ids: Collection[str]) -> Conditions:
    """Is a user of any server joined to at least one of the rooms, as far as we follow them?"""
    row = await conn.fetchrow(
        """
        SELECT coalesce(bool_or(c.membership = 1), false), count(*)
          FROM rooms r LEFT JOIN current_state c ON c.room_nid = r.room_nid AND c.key_nid = $1
         WHERE r.room_id = ANY($2::text[])
           AND EXISTS (SELECT FROM local_memberships m WHERE m.room_nid = r.room_nid AND m.membership = 1)
        """,
        user_nid,
        list(room_ids),
    )
    assert row is not None
    return Conditions(row[0], row[1] < len(set(room_ids)))


async def first_joined(conn: Connection, room_nid: int, user_ids: Iterable[str]) -> str | None:
    """One of those of our users who are joined to the room."""
    found: str | None = await conn.fetchval(
        """
        SELECT k.state_key
          FROM state_keys k JOIN local_memberships m ON m.user_nid = k.key_nid
         WHERE k.type = 'm.room.member' AND k.state_key = ANY($2::text[])
           AND m.room_nid = $1 AND m.membership = 1
         LIMIT 1
        """,
        room_nid,
        list(user_ids),
    )
    return found


async def any_joined(conn: Connection, room_nid: int, but: Iterable[str]) -> str | None:
    """Any of our users who are joined to the room, some excluded."""
    found: str | None = await conn.fetchval(
        """
        SELECT k.state_key
          FROM local_memberships m JOIN state_keys k ON k.key_nid = m.user_nid
         WHERE m.room_nid = $1 AND m.membership = 1 AND NOT k.state_key = ANY($2::text[])
         LIMIT 1
        """,
        room_nid,
        list(but),
    )
    return found
