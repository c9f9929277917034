"""One-time and fallback keys: keys by which strangers begin a conversation, each one-time key given out once.

The keys of a device and an algorithm are numbered without gaps; their queue says up to which one they were claimed.
So a claim writes one small row in place, whose lock lets no two claims have the same key, and no index is touched.
A claimed key stays for some days, so that an upload that is repeated after the claim does not bring it back.
"""

from collections.abc import Iterable, Sequence

from attrs import frozen

from storage.database import Connection


@frozen
class UploadedKey:
    """A one-time or fallback key, as a client names it: `algorithm:key_id`. `json` is an object or a string."""

    algorithm: str
    key_id: str
    json: str


@frozen
class ClaimedKey:
    """A key that was given out."""

    device_nid: int
    algorithm: str
    key_id: str
    json: str


async def prepare(
    conn: Connection, device_nid: int, algorithms: Iterable[str], *, now: int, before: int
) -> None:
    """Lock the queues that keys are to be added to; drop what was claimed before a time: nobody repeats that.

    When keys were claimed is known by marks: each time the last mark has become older than `before`, what lies
    behind it goes, and what has been claimed by now is marked.
    """
    await conn.execute(
        """
        WITH gone AS (
            DELETE FROM one_time_keys o USING one_time_key_queues q
             WHERE q.device_nid = $1 AND q.marked_ts < $4 AND o.queue_nid = q.queue_nid AND o.ord <= q.marked)
        INSERT INTO one_time_key_queues AS q (device_nid, algorithm, marked_ts)
        SELECT $1, algorithm, $3 FROM unnest($2::text[]) AS algorithm ORDER BY algorithm
            ON CONFLICT (device_nid, algorithm) DO UPDATE
           SET marked = CASE WHEN q.marked_ts < $4 THEN q.claimed ELSE q.marked END,
               marked_ts = CASE WHEN q.marked_ts < $4 THEN $3 ELSE q.marked_ts END
        """,
        device_nid,
        list(set(algorithms)),
        now,
        before,
    )


async def add(conn: Connection, device_nid: int, keys: Sequence[UploadedKey]) -> list[UploadedKey]:
    """Keep new keys in their order; gives those of `keys` whose name is taken by another, unclaimed key.

    A name whose key has been claimed may be used again, but not for the very same key. To be called after `prepare`.
    """
    rows = await conn.fetch(
        """
        WITH given AS (
            SELECT g.*, q.queue_nid, q.uploaded, q.claimed, o.ord, o.json AS former
              FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY
                       AS g(algorithm, key_id, json, number)
              JOIN one_time_key_queues q ON q.device_nid = $1 AND q.algorithm = g.algorithm
              LEFT JOIN one_time_keys o ON o.queue_nid = q.queue_nid AND o.key_id = g.key_id),
        fresh AS (
            SELECT queue_nid, key_id, json,
                   uploaded + row_number() OVER (PARTITION BY queue_nid ORDER BY number) AS ord
              FROM given WHERE ord IS NULL OR ord <= claimed AND former <> json),
        kept AS (
            INSERT INTO one_time_keys (queue_nid, ord, key_id, json)
            SELECT queue_nid, ord, key_id, json FROM fresh ORDER BY ord
                ON CONFLICT (queue_nid, key_id) DO UPDATE SET ord = excluded.ord, json = excluded.json),
        counted AS (
            UPDATE one_time_key_queues q SET uploaded = f.last
              FROM (SELECT queue_nid, max(ord) AS last FROM fresh GROUP BY queue_nid) AS f
             WHERE q.queue_nid = f.queue_nid)
        SELECT algorithm, key_id, json FROM given WHERE ord > claimed AND former <> json
        """,
        device_nid,
        *_columns(keys),
    )
    return [UploadedKey(*row) for row in rows]


async def taken(conn: Connection, device_nid: int, keys: Sequence[UploadedKey]) -> list[UploadedKey]:
    """Those of `keys` that `add` would refuse now."""
    rows = await conn.fetch(
        """
        SELECT g.algorithm, g.key_id, g.json
          FROM unnest($2::text[], $3::text[], $4::text[]) AS g(algorithm, key_id, json)
          JOIN one_time_key_queues q ON q.device_nid = $1 AND q.algorithm = g.algorithm
          JOIN one_time_keys o ON o.queue_nid = q.queue_nid AND o.key_id = g.key_id
         WHERE o.ord > q.claimed AND o.json <> g.json
        """,
        device_nid,
        *_columns(keys),
    )
    return [UploadedKey(*row) for row in rows]


async def put_fallback(conn: Connection, device_nid: int, keys: Sequence[UploadedKey]) -> None:
    """Keep one fallback key an algorithm; the same one again stays used."""
    await conn.execute(
        """
        INSERT INTO fallback_keys AS f (device_nid, algorithm, key_id, json)
        SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[])
            ON CONFLICT (device_nid, algorithm) DO UPDATE
           SET key_id = excluded.key_id, json = excluded.json, used = false
         WHERE f.key_id <> excluded.key_id OR f.json <> excluded.json
        """,
        device_nid,
        *_columns(keys),
    )


async def counts(conn: Connection, device_nid: int) -> dict[str, int]:
    """How many unclaimed keys a device has, by algorithm."""
    rows = await conn.fetch(
        """
        SELECT algorithm, uploaded - claimed FROM one_time_key_queues
         WHERE device_nid = $1 AND uploaded > claimed ORDER BY algorithm
        """,
        device_nid,
    )
    return {row[0]: row[1] for row in rows}


async def unused_fallback(conn: Connection, device_nid: int) -> list[str]:
    """The algorithms of which a device has a fallback key that was not given out."""
    rows = await conn.fetch(
        "SELECT algorithm FROM fallback_keys WHERE device_nid = $1 AND NOT used ORDER BY algorithm",
        device_nid,
    )
    return [row[0] for row in rows]


async def devices_of(conn: Connection, user_nids: Sequence[int]) -> list[tuple[int, str, int]]:
    """(user_nid, device_id, device_nid) of all devices of users."""
    rows = await conn.fetch(
        "SELECT user_nid, device_id, device_nid FROM devices WHERE user_nid = ANY($1::int[])", user_nids
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def claim(conn: Connection, device_nids: Sequence[int], algorithm: str) -> list[ClaimedKey]:
    """The oldest key of each device that has one: nobody else gets it any more."""
    rows = await conn.fetch(
        """
        WITH claimed AS (
            UPDATE one_time_key_queues SET claimed = claimed + 1
             WHERE device_nid = ANY($1::int[]) AND algorithm = $2 AND claimed < uploaded
            RETURNING queue_nid, claimed, device_nid)
        SELECT c.device_nid, k.key_id, k.json
          FROM claimed c JOIN one_time_keys k ON k.queue_nid = c.queue_nid AND k.ord = c.claimed
        """,
        device_nids,
        algorithm,
    )
    return [ClaimedKey(row[0], algorithm, row[1], row[2]) for row in rows]


async def claim_fallback(conn: Connection, device_nids: Sequence[int], algorithm: str) -> list[ClaimedKey]:
    """The fallback key of each device that has one, used from now on."""
    rows = await conn.fetch(
        """
        UPDATE fallback_keys SET used = true
         WHERE device_nid = ANY($1::int[]) AND algorithm = $2
        RETURNING device_nid, algorithm, key_id, json
        """,
        device_nids,
        algorithm,
    )
    return [ClaimedKey(*row) for row in rows]


async def forget_unclaimed(conn: Connection, device_nid: int) -> None:
    """Drop what a device could still give out, its fallback keys too."""
    await conn.execute(
        """
        WITH fallback AS (DELETE FROM fallback_keys WHERE device_nid = $1)
        UPDATE one_time_key_queues SET claimed = uploaded WHERE device_nid = $1
        """,
        device_nid,
    )


def _columns(keys: Sequence[UploadedKey]) -> tuple[list[str], list[str], list[str]]:
    return [key.algorithm for key in keys], [key.key_id for key in keys], [key.json for key in keys]
