"""People who are in rooms here, by their names, as far as the searcher may know of them [cs "User Directory"]."""

from collections.abc import Sequence
from typing import Any

import orjson
from attrs import frozen

from storage.database import Connection

_PUBLIC = b'"join_rule":"public"'  # as canonical JSON has it
_READABLE = b'"history_visibility":"world_readable"'
_MOST_JUDGED = 2_000  # people whose names match of whom it is looked whether the searcher may know of them


@frozen
class Person:
    """Somebody of any server, with the words (a tsvector) by which they are found."""

    user_nid: int
    user_id: str
    display_name: str | None
    avatar_url: str | None
    words: str


@frozen
class Found:
    """A result."""

    user_id: str
    display_name: str | None
    avatar_url: str | None


async def search_users(conn: Connection, searcher: int, query: str, term: str, limit: int) -> list[Found]:
    """People whose name or id has the words: who share a room with the searcher, or are in an open one of ours.

    Searchers find themselves where strangers would. A room that all of us have left says nothing of who is in it now.
    Those come first whose name or id is or begins with `term` (in lower case), then those the searcher meets in rooms.
    """
    rows = await conn.fetch(
        """
        WITH named AS (
            SELECT u.*, least(
                       CASE WHEN lower(u.display_name) = $3 OR u.user_id LIKE '@' || $4 || ':%' THEN 0
                            WHEN starts_with(lower(u.display_name), $3) OR starts_with(u.user_id, '@' || $3) THEN 1
                            ELSE 2 END) AS score
              FROM directory_users u
             WHERE u.words @@ $2::tsquery
             LIMIT $6),
        judged AS (
            SELECT n.*,
                   EXISTS (SELECT FROM current_state theirs
                             JOIN local_memberships mine ON mine.room_nid = theirs.room_nid
                            WHERE theirs.key_nid = n.user_nid AND theirs.membership = 1
                              AND n.user_nid <> $1 AND mine.user_nid = $1 AND mine.membership = 1) AS met
              FROM named n)
        SELECT user_id, display_name, avatar_url FROM judged j
         WHERE met OR EXISTS (SELECT FROM current_state c JOIN open_rooms o USING (room_nid)
                               WHERE c.key_nid = j.user_nid AND c.membership = 1
                                 AND EXISTS (SELECT FROM local_memberships m
                                              WHERE m.room_nid = c.room_nid AND m.membership = 1))
         ORDER BY score, NOT met, length(user_id), user_id
         LIMIT $5
        """,
        searcher,
        query,
        term,
        term.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_"),
        limit,
        _MOST_JUDGED,
    )
    return [Found(*row) for row in rows]


async def people_in_rooms(
    conn: Connection, user_nids: Sequence[int]
) -> list[tuple[int, str, dict[str, Any] | None, bytes | None]]:
    """(number, id, profile if they are ours, a member event) of those who are in a room and may be found."""
    rows = await conn.fetch(
        """
        SELECT k.key_nid, k.state_key, a.user_nid IS NOT NULL,
               (SELECT json_object_agg(p.field, p.value) FROM profiles p
                 WHERE p.user_nid = a.user_nid AND p.field IN ('displayname', 'avatar_url')),
               CASE WHEN a.user_nid IS NULL THEN m.json END
          FROM state_keys k
          LEFT JOIN accounts a ON a.user_nid = k.key_nid
         CROSS JOIN LATERAL (
               SELECT e.json FROM current_state c JOIN events e ON e.event_nid = c.event_nid
                WHERE c.key_nid = k.key_nid AND c.membership = 1
                ORDER BY c.event_nid DESC LIMIT 1) m
         WHERE k.key_nid = ANY($1::int[]) AND NOT coalesce(a.deactivated OR a.guest, false)
        """,
        list(user_nids),
    )
    return [(row[0], row[1], _profile(row[3]) if row[2] else None, row[4]) for row in rows]


async def list_people(conn: Connection, people: Sequence[Person], looked_at: Sequence[int]) -> None:
    """Those of whom we looked at are listed like this; the others of them no more."""
    await conn.execute(
        "DELETE FROM directory_users WHERE user_nid = ANY($1::int[]) AND NOT user_nid = ANY($2::int[])",
        list(looked_at),
        [person.user_nid for person in people],
    )
    await conn.execute(
        """
        INSERT INTO directory_users (user_nid, user_id, display_name, avatar_url, words)
        SELECT n, i, d, a, w::tsvector
          FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[]) AS p(n, i, d, a, w)
            ON CONFLICT (user_nid) DO UPDATE SET
               display_name = excluded.display_name, avatar_url = excluded.avatar_url, words = excluded.words
        """,
        [person.user_nid for person in people],
        [person.user_id for person in people],
        [person.display_name for person in people],
        [person.avatar_url for person in people],
        [person.words for person in people],
    )


async def unlisted_members(conn: Connection, room_nids: Sequence[int]) -> list[int]:
    """Who is in these rooms and not listed."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT c.key_nid FROM current_state c
         WHERE c.room_nid = ANY($1::int[]) AND c.membership = 1
           AND NOT EXISTS (SELECT FROM directory_users u WHERE u.user_nid = c.key_nid)
        """,
        list(room_nids),
    )
    return [row[0] for row in rows]


async def look_at_rooms(conn: Connection, room_nids: Sequence[int]) -> None:
    """Note which of these rooms are open now: anybody may join or read them."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT c.room_nid
          FROM state_keys k
          JOIN current_state c ON c.room_nid = ANY($1::int[]) AND c.key_nid = k.key_nid
          JOIN events e ON e.event_nid = c.event_nid AND e.redacted_by IS NULL
         WHERE k.state_key = ''
           AND (k.type = 'm.room.join_rules' AND position($2::bytea IN e.json) > 0
                OR k.type = 'm.room.history_visibility' AND position($3::bytea IN e.json) > 0)
        """,
        list(room_nids),
        _PUBLIC,
        _READABLE,
    )
    opened = [row[0] for row in rows]
    await conn.execute(
        "DELETE FROM open_rooms WHERE room_nid = ANY($1::int[]) AND NOT room_nid = ANY($2::int[])",
        list(room_nids),
        opened,
    )
    await conn.execute(
        "INSERT INTO open_rooms (room_nid) SELECT unnest($1::int[]) ON CONFLICT DO NOTHING", opened
    )


def _profile(fields: str | None) -> dict[str, Any]:
    """The values are JSON themselves."""
    told = orjson.loads(fields) if fields is not None else {}
    return {name: orjson.loads(value) for name, value in told.items()}
