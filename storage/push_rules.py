"""Push rules of our users, which are their account data m.push_rules: whose they are, who is in which room."""

from collections.abc import Collection

import orjson
from attrs import frozen

from storage.database import Connection


@frozen
class KeptRules:
    """What a user has made of the predefined rules: m.push_rules as it is kept."""

    user_nid: int
    user_id: str
    content: dict[str, object]


async def changed_since(conn: Connection, position: int) -> list[tuple[int, int]]:
    """(user_nid, position) of those whose rules were written after a position, oldest first."""
    rows = await conn.fetch(
        """
        SELECT user_nid, position FROM account_data
         WHERE type = 'm.push_rules' AND room_nid = 0 AND position > $1 ORDER BY position
        """,
        position,
    )
    return [(row[0], row[1]) for row in rows]


async def of_members(conn: Connection, room_nid: int) -> list[int]:
    """Our users in a room who have rules of their own."""
    rows = await conn.fetch(
        """
        SELECT user_nid FROM local_memberships m
         WHERE room_nid = $1 AND membership = 1
           AND EXISTS (SELECT 1 FROM account_data a
                        WHERE a.user_nid = m.user_nid AND a.room_nid = 0 AND a.type = 'm.push_rules')
        """,
        room_nid,
    )
    return [row[0] for row in rows]


async def members(conn: Connection, room_nid: int) -> list[int]:
    """Our users in a room."""
    rows = await conn.fetch(
        "SELECT user_nid FROM local_memberships WHERE room_nid = $1 AND membership = 1", room_nid
    )
    return [row[0] for row in rows]


async def members_among(conn: Connection, room_nid: int, user_nids: Collection[int]) -> set[int]:
    """Those of the users who are in the room."""
    rows = await conn.fetch(
        """
        SELECT user_nid FROM local_memberships
         WHERE user_nid = ANY($2::int[]) AND room_nid = $1 AND membership = 1
        """,
        room_nid,
        list(user_nids),
    )
    return {row[0] for row in rows}


async def kept(conn: Connection, user_nids: Collection[int]) -> list[KeptRules]:
    """The rules of those of the users who have some of their own."""
    rows = await conn.fetch(
        """
        SELECT a.user_nid, u.user_id, a.content
          FROM account_data a JOIN accounts u USING (user_nid)
         WHERE a.user_nid = ANY($1::int[]) AND a.room_nid = 0 AND a.type = 'm.push_rules'
           AND a.content IS NOT NULL
        """,
        list(user_nids),
    )
    return [KeptRules(row[0], row[1], orjson.loads(row[2])) for row in rows]
