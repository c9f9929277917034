"""Rows of `one_time_keys` and `fallback_keys`: keys by which strangers begin a conversation, each given out once.

A claimed key stays for some days, so that an upload that is repeated after the claim does not bring it back.
"""

from collections.abc import Sequence

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


async def add(conn: Connection, device_nid: int, keys: Sequence[UploadedKey]) -> list[UploadedKey]:
    """Keep new keys in their order; gives those of `keys` whose name is taken by another, unclaimed key.

    A name whose key has been claimed may be used again, but not for the very same key.
    """
    rows = await conn.fetch(
        """
        WITH given AS (
            SELECT * FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY
                       AS g(algorithm, key_id, json, number)),
        kept AS (
            INSERT INTO one_time_keys AS o (device_nid, algorithm, key_id, json)
            SELECT $1, algorithm, key_id, json FROM given ORDER BY number
                ON CONFLICT (device_nid, algorithm, key_id) DO UPDATE
               SET json = excluded.json, claimed_ts = NULL, ord = DEFAULT
             WHERE o.claimed_ts IS NOT NULL AND o.json <> excluded.json)
        SELECT g.algorithm, g.key_id, g.json
          FROM given g JOIN one_time_keys o USING (algorithm, key_id)
         WHERE o.device_nid = $1 AND o.claimed_ts IS NULL AND o.json <> g.json
        """,
        device_nid,
        [key.algorithm for key in keys],
        [key.key_id for key in keys],
        [key.json for key in keys],
    )
    return [UploadedKey(*row) for row in rows]


async def taken(conn: Connection, device_nid: int, keys: Sequence[UploadedKey]) -> list[UploadedKey]:
    """Those of `keys` that `add` would refuse now."""
    rows = await conn.fetch(
        """
        SELECT g.algorithm, g.key_id, g.json
          FROM unnest($2::text[], $3::text[], $4::text[]) AS g(algorithm, key_id, json)
          JOIN one_time_keys o USING (algorithm, key_id)
         WHERE o.device_nid = $1 AND o.claimed_ts IS NULL AND o.json <> g.json
        """,
        device_nid,
        [key.algorithm for key in keys],
        [key.key_id for key in keys],
        [key.json for key in keys],
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
        [key.algorithm for key in keys],
        [key.key_id for key in keys],
        [key.json for key in keys],
    )


async def counts(conn: Connection, device_nid: int) -> dict[str, int]:
    """How many unclaimed keys a device has, by algorithm."""
    rows = await conn.fetch(
        """
        SELECT algorithm, count(*) FROM one_time_keys
         WHERE device_nid = $1 AND claimed_ts IS NULL GROUP BY algorithm ORDER BY algorithm
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


async def claim(conn: Connection, device_nids: Sequence[int], algorithm: str, now: int) -> list[ClaimedKey]:
    """The oldest key of each device that has one: nobody else gets it any more.

    To be called with the clock's row locked, so that no two claims run at a time.
    """
    rows = await conn.fetch(
        """
        WITH oldest AS (
            SELECT o.place
              FROM unnest($1::int[]) AS w(device_nid)
             CROSS JOIN LATERAL (
                   SELECT ctid AS place FROM one_time_keys
                    WHERE device_nid = w.device_nid AND algorithm = $2 AND claimed_ts IS NULL
                    ORDER BY ord LIMIT 1) AS o)
        UPDATE one_time_keys k SET claimed_ts = $3
         WHERE k.ctid = ANY(ARRAY(SELECT place FROM oldest)) AND k.claimed_ts IS NULL
        RETURNING k.device_nid, k.algorithm, k.key_id, k.json
        """,
        device_nids,
        algorithm,
        now,
    )
    return [ClaimedKey(*row) for row in rows]


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


async def forget_claimed(conn: Connection, device_nid: int, before: int) -> None:
    """Drop a device's keys that were claimed before a time: nobody repeats their upload any more."""
    await conn.execute(
        "DELETE FROM one_time_keys WHERE device_nid = $1 AND claimed_ts < $2", device_nid, before
    )


async def forget_unclaimed(conn: Connection, device_nid: int) -> None:
    """Drop what a device could still give out, its fallback keys too."""
    await conn.execute(
        """
        WITH fallback AS (DELETE FROM fallback_keys WHERE device_nid = $1)
        UPDATE one_time_keys SET claimed_ts = (extract(epoch FROM now()) * 1000)::bigint
         WHERE device_nid = $1 AND claimed_ts IS NULL
        """,
        device_nid,
    )
