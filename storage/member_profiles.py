"""What member events say about our own users, beside the membership: display names and avatars, set-wise."""

from collections.abc import Iterable

import orjson

from storage.database import Connection


async def member_profiles(conn: Connection, user_ids: Iterable[str]) -> dict[str, dict[str, str]]:
    """user id -> {"displayname": …, "avatar_url": …}, without what is not set."""
    # The sub-select hides how many they are: else PostgreSQL plans anew each time, for ten times what reading costs.
    rows = await conn.fetch(
        """
        SELECT k.state_key AS user_id, p.field, p.value
          FROM state_keys k
          JOIN profiles p ON p.user_nid = k.key_nid AND p.field IN ('displayname', 'avatar_url')
         WHERE k.type = 'm.room.member' AND k.state_key = ANY((SELECT $1::text[])::text[])
        """,
        list(user_ids),
    )
    profiles: dict[str, dict[str, str]] = {}
    for row in rows:
        value = orjson.loads(row["value"])
        if isinstance(value, str) and value:
            profiles.setdefault(row["user_id"], {})[row["field"]] = value
    return profiles
