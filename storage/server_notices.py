"""Rows of `notice_rooms`: where the server speaks to its users."""

from storage.database import Connection


async def notice_room_of(conn: Connection, user_id: str) -> str | None:
    """The room in which the server speaks to a user, if it ever did."""
    room_id: str | None = await conn.fetchval(
        "SELECT n.room_id FROM notice_rooms n JOIN accounts a USING (user_nid) WHERE a.user_id = $1", user_id
    )
    return room_id


async def set_notice_room(conn: Connection, user_nid: int, room_id: str) -> None:
    """From now on it is this one."""
    await conn.execute(
        """
        INSERT INTO notice_rooms (user_nid, room_id) VALUES ($1, $2)
            ON CONFLICT (user_nid) DO UPDATE SET room_id = excluded.room_id
        """,
        user_nid,
        room_id,
    )
