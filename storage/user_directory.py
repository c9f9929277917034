"""Finding our own users by name, as far as the one who searches may know of them [cs "User Directory"]."""

from attrs import frozen

from storage.database import Connection

_PUBLIC = b'"join_rule":"public"'  # as canonical JSON has it
_READABLE = b'"history_visibility":"world_readable"'


@frozen
class Found:
    """A user, with profile fields as JSON."""

    user_id: str
    display_name: str | None
    avatar_url: str | None


async def search_users(
    conn: Connection, searcher: int, patterns: tuple[str, list[str]], limit: int
) -> list[Found]:
    """Users whose id or name match (`patterns` for LIKE): who share a room with the searcher, or are in an open one."""
    rows = await conn.fetch(
        """
        WITH open_by AS (
            SELECT key_nid, CASE type WHEN 'm.room.join_rules' THEN $4::bytea ELSE $5::bytea END AS mark
              FROM state_keys
             WHERE state_key = '' AND type IN ('m.room.join_rules', 'm.room.history_visibility'))
        SELECT a.user_id, name.value, avatar.value
          FROM accounts a
          LEFT JOIN profiles name ON name.user_nid = a.user_nid AND name.field = 'displayname'
          LEFT JOIN profiles avatar ON avatar.user_nid = a.user_nid AND avatar.field = 'avatar_url'
         WHERE NOT a.deactivated AND NOT a.guest AND a.user_nid <> $1
           AND (a.user_id ILIKE $2 OR name.value ILIKE ANY ($3::text[]))
           AND EXISTS (
               SELECT FROM local_memberships theirs
                WHERE theirs.user_nid = a.user_nid AND theirs.membership = 1
                  AND (EXISTS (SELECT FROM local_memberships mine
                                WHERE mine.user_nid = $1 AND mine.room_nid = theirs.room_nid
                                  AND mine.membership = 1)
                       OR EXISTS (SELECT FROM open_by
                                    JOIN current_state c
                                      ON c.room_nid = theirs.room_nid AND c.key_nid = open_by.key_nid
                                    JOIN events e ON e.event_nid = c.event_nid
                                   WHERE position(open_by.mark IN e.json) > 0)))
         ORDER BY length(a.user_id), a.user_id
         LIMIT $6
        """,
        searcher,
        *patterns,
        _PUBLIC,
        _READABLE,
        limit,
    )
    return [Found(*row) for row in rows]
