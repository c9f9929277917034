"""Rows of `account_data`: what clients keep here for their user, globally (room number 0) or for a room."""

from collections.abc import Iterable
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


async def global_of_user(conn: Connection, user_nid: int, kinds: Iterable[str]) -> dict[str, Any]:
    """Several types of a user's global account data, by type."""
    rows = await conn.fetch(
        "SELECT type, content FROM account_data WHERE user_nid = $1 AND room_nid = 0 AND type = ANY($2)",
        user_nid,
        list(kinds),
    )
    return {row[0]: orjson.loads(row[1]) for row in rows if row[1] is not None}


async def global_of_accounts(
    conn: Connection, user_ids: Iterable[str], kinds: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """The same of several of our users, by user id; who has none of these types is left out."""
    rows = await conn.fetch(
        """
        SELECT u.user_id, d.type, d.content
          FROM accounts u JOIN account_data d ON d.user_nid = u.user_nid AND d.room_nid = 0
         WHERE u.user_id = ANY($1) AND d.type = ANY($2) AND d.content IS NOT NULL
        """,
        list(user_ids),
        list(kinds),
    )
    found: dict[str, dict[str, Any]] = {}
    for user_id, kind, content in rows:
        found.setdefault(user_id, {})[kind] = orjson.loads(content)
    return found
