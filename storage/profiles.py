"""Rows of `profiles`: what our users say about themselves, field by field."""

from typing import Any

import orjson

from storage.database import Connection


async def fields_of(conn: Connection, user_nid: int) -> dict[str, Any]:
    """All fields of a profile."""
    rows = await conn.fetch("SELECT field, value FROM profiles WHERE user_nid = $1 ORDER BY field", user_nid)
    return {row[0]: orjson.loads(row[1]) for row in rows}


async def set_field(conn: Connection, user_nid: int, name: str, value: Any) -> None:
    """Set one field."""
    await conn.execute(
        """
        INSERT INTO profiles (user_nid, field, value) VALUES ($1, $2, $3)
            ON CONFLICT (user_nid, field) DO UPDATE SET value = excluded.value
        """,
        user_nid,
        name,
        orjson.dumps(value).decode(),
    )


async def delete_field(conn: Connection, user_nid: int, name: str) -> bool:
    """Remove one field; was it there?"""
    found = await conn.fetchval(
        "DELETE FROM profiles WHERE user_nid = $1 AND field = $2 RETURNING 1", user_nid, name
    )
    return found is not None


async def delete_profile(conn: Connection, user_nid: int) -> None:
    """Remove all fields, and when they changed."""
    await conn.execute("DELETE FROM profiles WHERE user_nid = $1", user_nid)
    await conn.execute("DELETE FROM profile_changes WHERE user_nid = $1", user_nid)
