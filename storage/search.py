"""Rows of `search_documents`: what is found by its words."""

from collections.abc import Collection, Sequence

from attrs import field, frozen

from storage.database import Connection
from storage.events import COLUMNS, EventReader, StoredEvent

BODY, NAME, TOPIC = 0, 1, 2
MOST_RANKED = 20_000  # results that are put in order; of more than that, any
MOST_COUNTED = 10_000  # of more than that nobody looks at the number


@frozen
class Document:
    """An event's words, as a tsvector."""

    event_nid: int
    ts: int
    room_nid: int
    part: int
    words: str = field(repr=False)


@frozen(kw_only=True)
class Search:
    """What is searched for: a tsquery, in some rooms and parts."""

    query: str
    room_nids: Sequence[int]
    parts: Collection[int]
    recent: bool


@frozen
class Hit:
    """A result. No event: it is not here any more."""

    event_nid: int
    rank: float
    ts: int
    event: StoredEvent | None


def room_mark(room_nid: int) -> str:
    """The word that stands for a room."""
    return f"!{room_nid}"


async def put_documents(conn: Connection, documents: Sequence[Document]) -> None:
    """Make events findable."""
    await conn.execute(
        """
        INSERT INTO search_documents (event_nid, ts, room_nid, part, words)
        SELECT n, t, r, p, w::tsvector
          FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::smallint[], $5::text[]) AS d(n, t, r, p, w)
            ON CONFLICT DO NOTHING
        """,
        [one.event_nid for one in documents],
        [one.ts for one in documents],
        [one.room_nid for one in documents],
        [one.part for one in documents],
        [one.words for one in documents],
    )


async def drop_redacted(conn: Connection, redaction_nids: Sequence[int]) -> None:
    """What these redactions took back is found no more."""
    await conn.execute(
        """
        DELETE FROM search_documents d USING redactions r, events e
         WHERE r.redaction_nid = ANY($1::bigint[]) AND e.event_id = r.redacts AND e.redacted_by IS NOT NULL
           AND d.event_nid = e.event_nid
        """,
        list(redaction_nids),
    )


async def drop_taken_back(conn: Connection, event_nids: Sequence[int]) -> None:
    """Those of the events are not found that had been redacted before they came."""
    await conn.execute(
        """
        DELETE FROM search_documents d USING events e
         WHERE d.event_nid = ANY($1::bigint[]) AND e.event_nid = d.event_nid AND e.redacted_by IS NOT NULL
        """,
        list(event_nids),
    )


async def hits(
    conn: Connection, reader: EventReader, search: Search, after: tuple[float, int] | None, limit: int
) -> tuple[list[Hit], int]:
    """The next results, after one of that rank (or time) and number; best or latest first. And how many there are."""
    # The query names the rooms, as words. The index by room would read all that was ever said in them, and is what
    # the planner takes when its numbers are old; "+ 0" keeps it away.
    order = "ts" if search.recent else "rank"
    value, nid = (None, None) if after is None else after
    rows = await conn.fetch(
        f"""
        WITH found AS MATERIALIZED (
            SELECT event_nid, ts, ts_rank(words, $1::tsquery, 1)::float8 AS rank FROM search_documents
             WHERE words @@ $1::tsquery AND room_nid + 0 = ANY($2::int[]) AND part = ANY($3::smallint[])
             LIMIT $7
        ), page AS (
            SELECT event_nid AS hit, rank, ts FROM found
             WHERE $4::float8 IS NULL OR ({order}::float8, event_nid) < ($4, $5)
             ORDER BY {order} DESC, event_nid DESC LIMIT $6
        )
        SELECT total, hit, rank, ts, {COLUMNS}
          FROM (SELECT count(*) AS total FROM found) AS whole
          LEFT JOIN page ON true
          LEFT JOIN events ON event_nid = hit
         ORDER BY {order} DESC, hit DESC
        """,  # noqa: S608 (our own text)
        search.query,
        list(search.room_nids),
        list(search.parts),
        value,
        nid,
        limit,
        MOST_RANKED,
    )
    read = await reader.read(conn, [row for row in rows if row["event_nid"] is not None])
    events = {stored.nid: stored for stored in read}
    found = [Hit(row[1], row[2], row[3], events.get(row[1])) for row in rows if row[1] is not None]
    return found, min(rows[0][0], MOST_COUNTED)
