"""Are we in a room, and by which event are servers kept out of it: what stands before anything else servers ask."""

from collections.abc import Collection

from attrs import frozen

from storage.database import Connection


@frozen
class Residence:
    """A room we know. `resident`: somebody of ours is joined; `acl_nid`: its m.room.server_acl event."""

    room_nid: int
    resident: bool
    acl_nid: int | None


async def residences(conn: Connection, room_ids: Collection[str]) -> dict[str, Residence]:
    """Those of the rooms that we know, by id."""
    rows = await conn.fetch(
        """
        SELECT r.room_id, r.room_nid,
               EXISTS (SELECT 1 FROM local_memberships m WHERE m.room_nid = r.room_nid AND m.membership = 1),
               (SELECT c.event_nid FROM current_state c JOIN state_keys k USING (key_nid)
                 WHERE c.room_nid = r.room_nid AND k.type = 'm.room.server_acl' AND k.state_key = '')
          FROM rooms r WHERE r.room_id = ANY($1::text[])
        """,
        list(room_ids),
    )
    return {row[0]: Residence(row[1], row[2], row[3]) for row in rows}


async def joined_members(conn: Connection, room_nid: int, user_ids: Collection[str]) -> dict[str, int]:
    """Those of the users, of any server, who are in the room, with their numbers."""
    rows = await conn.fetch(
        """
        SELECT k.state_key, k.key_nid
          FROM state_keys k
          JOIN current_state c ON c.room_nid = $1 AND c.key_nid = k.key_nid AND c.membership = 1
         WHERE k.type = 'm.room.member' AND k.state_key = ANY($2::text[])
        """,
        room_nid,
        list(user_ids),
    )
    return {row[0]: row[1] for row in rows}
