"""The members that a server has, or had, in a room."""

from attrs import frozen

from storage.database import Connection


@frozen
class ServerMember:
    """A user of a server whom the room's current state names, with whatever membership."""

    user_nid: int
    event_nid: int
    joined: bool


async def of_server(conn: Connection, room_nid: int, server: str, limit: int) -> list[ServerMember]:
    """Up to `limit`: first who is joined, for longest before others; then who went, the last to go before others."""
    rows = await conn.fetch(
        """
        SELECT c.key_nid, c.event_nid, c.membership = 1 AS joined
          FROM current_state c JOIN state_keys k USING (key_nid)
         WHERE c.room_nid = $1 AND c.membership IS NOT NULL
           AND substr(k.state_key, strpos(k.state_key, ':') + 1) = $2
         ORDER BY joined DESC, CASE WHEN c.membership = 1 THEN c.event_nid ELSE -c.event_nid END
         LIMIT $3
        """,
        room_nid,
        server,
        limit,
    )
    return [ServerMember(row[0], row[1], row[2]) for row in rows]
