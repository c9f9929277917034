"""Rows of `account_data`: what clients keep here for their user, globally (room number 0) or for a room."""

from typing import Any

import orjson
from attrs import frozen

from storage.database import Connection

GLOBAL = 0


@frozen
class AccountData:
    """An entry; None as content: it was deleted."""

    room_nid: int
    type: str
    content: dict[str, Any] | None


async def find_account_data(
    conn: Connection, user_nid: int, room_nid: int, kind: str
) -> dict[str, Any] | None:
    """One entry's content."""
    text = await conn.fetchval(
        "SELECT content FROM account_data WHERE user_nid = $1 AND room_nid = $2 AND type = $3",
        user_nid,
        room_nid,
        kind,
    )
    return None if text is None else orjson.loads(text)


async def room_nid_of(conn: Connection, room_id: str) -> int | None:
    """The number of a room we know anything of, be it an invite."""
    nid: int | None = await conn.fetchval("SELECT room_nid FROM rooms WHERE room_id = $1", room_id)
    return nid


async def set_account_data(conn: Connection, position: int, user_nid: int, entry: AccountData) -> None:
    """Set an entry, or leave behind that it was deleted."""
    await conn.execute(
        """
        INSERT INTO account_data (position, user_nid, room_nid, type, content)
        VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (user_nid, room_nid, type) DO UPDATE
           SET position = excluded.position, content = excluded.content
        """,
        position,
        user_nid,
        entry.room_nid,
        entry.type,
        None if entry.content is None else orjson.dumps(entry.content).decode(),
    )


async def delete_account_data(conn: Connection, user_nid: int) -> None:
    """All entries of a user whose account is gone."""
    await conn.execute("DELETE FROM account_data WHERE user_nid = $1", user_nid)
