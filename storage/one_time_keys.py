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


async def devices_named(conn: Connection, wanted: Sequence[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """The numbers of devices, by (user_nid, device_id)."""
    rows = await conn.fetch(
        """
        SELECT d.user_nid, d.device_id, d.device_nid
          FROM unnest($1::int[], $2::text[]) AS n(user_nid, device_id)
          JOIN devices d USING (user_nid, device_id)
        """,
        [user_nid for user_nid, _ in wanted],
        [device_id for _, device_id in wanted],
    )
    return {(row[0], row[1]): row[2] for row in rows}


async def claim(conn: Connection, wanted: Sequence[tuple[int, str]], now: int) -> list[ClaimedKey]:
    """The oldest key for each (device_nid, algorithm) that has one: nobody else gets it any more."""
    rows = await conn.fetch(
        """
        WITH oldest AS (
            SELECT o.device_nid, o.algorithm, o.key_id
              FROM unnest($1::int[], $2::text[]) AS w(device_nid, algorithm)
             CROSS JOIN LATERAL (
                   SELECT device_nid, algorithm, key_id FROM one_time_keys
                    WHERE device_nid = w.device_nid AND algorithm = w.algorithm AND claimed_ts IS NULL
                    ORDER BY ord LIMIT 1 FOR UPDATE) AS o)
        UPDATE one_time_keys k SET claimed_ts = $3
          FROM oldest
         WHERE k.device_nid = oldest.device_nid AND k.algorithm = oldest.algorithm
           AND k.key_id = oldest.key_id
        RETURNING k.device_nid, k.algorithm, k.key_id, k.json
        """,
        [device_nid for device_nid, _ in wanted],
        [algorithm for _, algorithm in wanted],
        now,
    )
    return [ClaimedKey(*row) for row in rows]


async def claim_fallback(conn: Connection, wanted: Sequence[tuple[int, str]]) -> list[ClaimedKey]:
    """The fallback key for each (device_nid, algorithm) that has one, used from now on."""
    rows = await conn.fetch(
        """
        UPDATE fallback_keys f SET used = true
          FROM unnest($1::int[], $2::text[]) AS w(device_nid, algorithm)
         WHERE f.device_nid = w.device_nid AND f.algorithm = w.algorithm
        RETURNING f.device_nid, f.algorithm, f.key_id, f.json
        """,
        [device_nid for device_nid, _ in wanted],
        [algorithm for _, algorithm in wanted],
    )
    return [ClaimedKey(*row) for row in rows]


async def forget_claimed(conn: Connection, before: int) -> None:
    """Drop keys that were claimed before a time."""
    await conn.execute("DELETE FROM one_time_keys WHERE claimed_ts < $1", before)
