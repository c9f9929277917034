"""Rows of `filters`: what clients uploaded. They never change."""

from typing import Any

import orjson

from storage.database import Connection


async def store_filter(conn: Connection, user_nid: int, definition: dict[str, Any]) -> int:
    """The number of a user's filter, given now if it is a new one. Two at once wait for each other's account row."""
    text = orjson.dumps(definition, option=orjson.OPT_SORT_KEYS).decode()
    await conn.execute("SELECT FROM accounts WHERE user_nid = $1 FOR UPDATE", user_nid)
    known: int | None = await conn.fetchval(
        "SELECT filter_id FROM filters WHERE user_nid = $1 AND definition = $2", user_nid, text
    )
    if known is not None:
        return known
    made: int = await conn.fetchval(
        """
        INSERT INTO filters (user_nid, filter_id, definition)
        SELECT $1, coalesce(max(filter_id) + 1, 0), $2 FROM filters WHERE user_nid = $1
        RETURNING filter_id
        """,
        user_nid,
        text,
    )
    return made


async def find_filter(conn: Connection, user_nid: int, filter_id: int) -> dict[str, Any] | None:
    """The definition of a user's filter."""
    text = await conn.fetchval(
        "SELECT definition FROM filters WHERE user_nid = $1 AND filter_id = $2", user_nid, filter_id
    )
    return None if text is None else orjson.loads(text)
