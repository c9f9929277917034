"""Rows of `search_documents`: what is found by its words."""

from collections.abc import Collection, Sequence

from attrs import field, frozen

from storage.database import Connection

BODY, NAME, TOPIC = 0, 1, 2
MOST_RANKED = 20_000  # results that are put in order; of more than that, any
MOST_COUNTED = 10_000


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
    """A result; `key` is what it is ordered by."""

    event_nid: int
    rank: float
    ts: int


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


async def hits(conn: Connection, search: Search, after: tuple[float, int] | None, limit: int) -> list[Hit]:
    """The next results, after one of that rank (or time) and number; best or latest first."""
    order = "ts" if search.recent else "rank"
    value, nid = (None, None) if after is None else after
    rows = await conn.fetch(
        f"""
        SELECT event_nid, rank, ts FROM (
            SELECT event_nid, ts, ts_rank(words, $1::tsquery, 1)::float8 AS rank FROM search_documents
             WHERE words @@ $1::tsquery AND room_nid = ANY($2::int[]) AND part = ANY($3::smallint[])
             LIMIT $7) found
         WHERE $4::float8 IS NULL OR ({order}::float8, event_nid) < ($4, $5)
         ORDER BY {order} DESC, event_nid DESC LIMIT $6
        """,  # noqa: S608 (our own text)
        search.query,
        list(search.room_nids),
        list(search.parts),
        value,
        nid,
        limit,
        MOST_RANKED,
    )
    return [Hit(*row) for row in rows]


async def count_hits(conn: Connection, search: Search) -> int:
    """How many results there are, up to a bound."""
    count: int = await conn.fetchval(
        """
        SELECT count(*) FROM (
            SELECT 1 FROM search_documents
             WHERE words @@ $1::tsquery AND room_nid = ANY($2::int[]) AND part = ANY($3::smallint[])
             LIMIT $4) found
        """,
        search.query,
        list(search.room_nids),
        list(search.parts),
        MOST_COUNTED,
    )
    return count
