"""Which stored events relate to which: pages of children, thread lists, and what aggregates of them."""

from collections.abc import Iterable, Sequence

from attrs import frozen

from storage.database import Connection
from storage.events import COLUMNS, EventReader, StoredEvent

_EVENT = ", ".join(f"e.{column.strip()}" for column in COLUMNS.split(","))
MAX_DEPTH = 3  # of relations of relations
MAX_RELATED = 2_000  # events that a recursion looks at
MAX_REFERENCES = 100  # of one event that are bundled


@frozen
class Thread:
    """What is bundled with a thread's root."""

    count: int
    latest_nid: int
    participated: bool


async def children(
    conn: Connection,
    reader: EventReader,
    parents: Sequence[str],
    *,
    low: int,
    high: int,
    newest_first: bool,
    limit: int,
    rel_type: str | None = None,
    child_type: str | None = None,
) -> list[StoredEvent]:
    """Events with low < position <= high that relate to one of the parents."""
    order = "DESC" if newest_first else "ASC"
    rows = await conn.fetch(
        f"""
        SELECT {_EVENT}
          FROM relations r JOIN events e ON e.event_nid = r.child_nid
         WHERE r.parent_id = ANY($1::text[]) AND NOT r.redacted AND r.position > $2 AND r.position <= $3
           AND ($4::text IS NULL OR r.rel_type = $4) AND ($5::text IS NULL OR r.child_type = $5)
         ORDER BY r.position {order} LIMIT $6
        """,  # noqa: S608 (our own text)
        parents,
        low,
        high,
        rel_type,
        child_type,
        limit,
    )
    return await reader.read(conn, rows)


async def descendants(conn: Connection, parent_id: str) -> tuple[list[str], int]:
    """The event and what relates to it, to be parents again, and how deep that goes [cs "Relationships API"]."""
    rows = await conn.fetch(
        """
        WITH RECURSIVE d(event_id, depth) AS (
            SELECT $1::text, 0
            UNION
            SELECT e.event_id, d.depth + 1
              FROM d JOIN relations r ON r.parent_id = d.event_id AND NOT r.redacted
              JOIN events e ON e.event_nid = r.child_nid
             WHERE d.depth < $2
        )
        SELECT event_id, min(depth) AS depth FROM d GROUP BY event_id ORDER BY depth LIMIT $3
        """,
        parent_id,
        MAX_DEPTH,
        MAX_RELATED,
    )
    depth = max(row["depth"] for row in rows)
    return [row["event_id"] for row in rows if row["depth"] < MAX_DEPTH], depth


async def threads(
    conn: Connection, room_nid: int, *, high: int, limit: int, participant: int | None
) -> list[tuple[str, int]]:
    """(root's id, position of the latest reply) of the room's threads, the latest first.

    Only threads whose latest reply is not behind `high`; `participant` wants those that a user has a part in.
    """
    rows = await conn.fetch(
        """
        SELECT r.parent_id, max(r.position) AS latest
          FROM relations r
         WHERE r.room_nid = $1 AND r.rel_type = 'm.thread' AND NOT r.redacted AND r.position IS NOT NULL
         GROUP BY r.parent_id
        HAVING max(r.position) <= $2
           AND ($4::int IS NULL OR bool_or(r.sender_nid = $4)
                OR EXISTS (SELECT FROM events e WHERE e.event_id = r.parent_id AND e.sender_nid = $4))
         ORDER BY latest DESC LIMIT $3
        """,
        room_nid,
        high,
        limit,
        participant,
    )
    return [(row["parent_id"], row["latest"]) for row in rows]


async def thread_summaries(conn: Connection, roots: Iterable[str], user_nid: int) -> dict[str, Thread]:
    """Replies of each thread: how many, the latest, and whether the user has a part in it."""
    rows = await conn.fetch(
        """
        SELECT r.parent_id, count(*) AS count, (array_agg(r.child_nid ORDER BY r.position DESC))[1] AS latest,
               bool_or(r.sender_nid = $2) OR bool_or(root.sender_nid = $2) AS participated
          FROM relations r JOIN events root ON root.event_id = r.parent_id AND root.room_nid = r.room_nid
         WHERE r.parent_id = ANY($1::text[]) AND r.rel_type = 'm.thread' AND NOT r.redacted
         GROUP BY r.parent_id
        """,
        list(roots),
        user_nid,
    )
    return {row["parent_id"]: Thread(row["count"], row["latest"], row["participated"]) for row in rows}


async def latest_edits(conn: Connection, parents: Iterable[str]) -> dict[str, int]:
    """The latest replacement of each event that the same sender made with the same type [cs "Event replacements"]."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT ON (r.parent_id) r.parent_id, r.child_nid
          FROM relations r
          JOIN events p ON p.event_id = r.parent_id AND p.room_nid = r.room_nid
          JOIN events c ON c.event_nid = r.child_nid
         WHERE r.parent_id = ANY($1::text[]) AND r.rel_type = 'm.replace' AND NOT r.redacted
           AND p.sender_nid = r.sender_nid AND p.type = r.child_type AND p.key_nid IS NULL
           AND p.redacted_by IS NULL AND c.status = 0
         ORDER BY r.parent_id, c.origin_server_ts DESC, c.event_id DESC
        """,
        list(parents),
    )
    return {row["parent_id"]: row["child_nid"] for row in rows}


async def references(conn: Connection, parents: Iterable[str]) -> dict[str, list[str]]:
    """The ids of events that refer to each of the parents, oldest first."""
    rows = await conn.fetch(
        """
        SELECT r.parent_id, (array_agg(c.event_id ORDER BY r.position))[:$2] AS ids
          FROM relations r JOIN events c ON c.event_nid = r.child_nid
         WHERE r.parent_id = ANY($1::text[]) AND r.rel_type = 'm.reference' AND NOT r.redacted
         GROUP BY r.parent_id
        """,
        list(parents),
        MAX_REFERENCES,
    )
    return {row["parent_id"]: list(row["ids"]) for row in rows}


async def related(
    conn: Connection,
    parents: Iterable[str],
    *,
    rel_types: Iterable[str] | None = None,
    senders: Iterable[str] | None = None,
) -> dict[str, set[str]]:
    """How others relate to those of the events to which they do: by these types and senders, or any."""
    rows = await conn.fetch(
        """
        SELECT parent_id, array_agg(DISTINCT rel_type) AS rel_types FROM relations
         WHERE parent_id = ANY($1::text[]) AND NOT redacted
           AND ($2::text[] IS NULL OR rel_type = ANY($2))
           AND ($3::text[] IS NULL OR sender_nid IN (
                SELECT key_nid FROM state_keys WHERE type = 'm.room.member' AND state_key = ANY($3)))
         GROUP BY parent_id
        """,
        list(parents),
        None if rel_types is None else list(rel_types),
        None if senders is None else list(senders),
    )
    return {row["parent_id"]: set(row["rel_types"]) for row in rows}
