"""What a restricted join needs to know: is somebody in one of these rooms, and who of ours is in this one."""

from collections.abc import Iterable

from storage.database import Connection


async def is_joined_to_any(conn: Connection, user_nid: int, room_ids: Iterable[str]) -> bool:
    """Is one of our users joined to at least one of the rooms?"""
    return bool(
        await conn.fetchval(
            """
            SELECT EXISTS (SELECT FROM rooms r JOIN local_memberships m ON m.room_nid = r.room_nid
                            WHERE r.room_id = ANY($2::text[]) AND m.user_nid = $1 AND m.membership = 1)
            """,
            user_nid,
            list(room_ids),
        )
    )


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
