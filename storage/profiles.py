"""Rows of `profiles`: what our users say about themselves, field by field."""

from typing import Any

import orjson

from storage.database import Connection


async def fields_of(conn: Connection, user_nid: int) -> dict[str, Any]:
    """All fields of a profile."""
    rows = await conn.fetch("SELECT field, value FROM profiles WHERE user_nid = $1 ORDER BY field", user_nid)
    return {row[0]: orjson.loads(row[1]) for row in rows}


async def fields_of_many(conn: Connection, user_nids: list[int]) -> dict[int, dict[str, Any]]:
    """The profiles of several users; such without any field are left out."""
    rows = await conn.fetch(
        "SELECT user_nid, field, value FROM profiles WHERE user_nid = ANY($1::int[])", user_nids
    )
    found: dict[int, dict[str, Any]] = {}
    for nid, name, value in rows:
        found.setdefault(nid, {})[name] = orjson.loads(value)
    return found


async def lock_profile(conn: Connection, user_nid: int) -> bool:
    """Hold the account until the transaction ends, so that limits of the whole profile can be checked."""
    found = await conn.fetchval("SELECT 1 FROM accounts WHERE user_nid = $1 FOR UPDATE", user_nid)
    return found is not None


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


async def delete_field(conn: Connection, user_nid: int, name: str) -> None:
    """Remove one field."""
    await conn.execute("DELETE FROM profiles WHERE user_nid = $1 AND field = $2", user_nid, name)


async def delete_profile(conn: Connection, user_nid: int) -> None:
    """Remove all fields."""
    await conn.execute("DELETE FROM profiles WHERE user_nid = $1", user_nid)
