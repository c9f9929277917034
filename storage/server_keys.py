"""Other servers' keys: each for ever, for old events need them, and the signed answers in which we learned of them.

A server's own word always counts; a notary's only where it is newer than what we know. A key stays when its server
publishes it no more. An answer is kept while it is the last one that had some key, for us to pass on as a notary.
"""

from collections.abc import Collection, Sequence

from attrs import field, frozen

from storage.database import Connection

KeyName = tuple[str, str]  # server name and key id


@frozen
class StoredKey:
    """A key as it is kept. `valid_until_ts` of a retired one is when that was."""

    public: bytes
    valid_until_ts: int
    retired: bool
    fetched_ts: int


@frozen
class StoredAnswer:
    """What a server has published, in its own signed bytes."""

    server_name: str
    fetched_ts: int
    valid_until_ts: int
    answer: bytes = field(repr=False)


@frozen
class HeardKeys:
    """An answer with the keys in it: (key id, public key, valid until, retired). `direct`: from the server itself."""

    said: StoredAnswer
    keys: Sequence[tuple[str, bytes, int, bool]]
    direct: bool = True


async def find(conn: Connection, wanted: Collection[KeyName]) -> dict[KeyName, StoredKey]:
    """Those of the keys that are known, and what we learned with them: that others were retired, perhaps."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT server_name, k.key_id, k.public_key, k.valid_until_ts, k.retired, fetched_ts
          FROM unnest($1::text[], $2::text[]) AS wanted (server_name, key_id)
          JOIN server_keys USING (server_name, key_id)
          JOIN server_keys k USING (server_name, fetched_ts)
        """,
        [server for server, _ in wanted],
        [key_id for _, key_id in wanted],
    )
    return {
        (row["server_name"], row["key_id"]): StoredKey(
            row["public_key"], row["valid_until_ts"], row["retired"], row["fetched_ts"]
        )
        for row in rows
    }


async def newest_answers(conn: Connection, servers: Collection[str]) -> list[StoredAnswer]:
    """The last answer of each of the servers, as far as there is one."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT ON (server_name) server_name, fetched_ts, valid_until_ts, answer
          FROM server_key_answers
         WHERE server_name = ANY($1)
         ORDER BY server_name, fetched_ts DESC
        """,
        list(servers),
    )
    return [StoredAnswer(*row) for row in rows]


async def answers_with(conn: Connection, wanted: Collection[KeyName]) -> list[StoredAnswer]:
    """The answers in which the keys stood last, each once."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT ON (server_name, fetched_ts) server_name, fetched_ts, a.valid_until_ts, answer
          FROM unnest($1::text[], $2::text[]) AS wanted (server_name, key_id)
          JOIN server_keys USING (server_name, key_id)
          JOIN server_key_answers a USING (server_name, fetched_ts)
         ORDER BY server_name, fetched_ts
        """,
        [server for server, _ in wanted],
        [key_id for _, key_id in wanted],
    )
    return [StoredAnswer(*row) for row in rows]


async def put(conn: Connection, heard: Sequence[HeardKeys]) -> None:
    """Keep what servers, at most one answer each, have published."""
    ordered = sorted(heard, key=lambda one: one.said.server_name)  # the same order everywhere: no deadlock
    await _put_answers(conn, [one.said for one in ordered])
    await _put_keys(conn, ordered)
    await conn.execute(
        """
        DELETE FROM server_key_answers a
         WHERE server_name = ANY($1)
           AND NOT EXISTS (SELECT FROM server_keys k
                            WHERE k.server_name = a.server_name AND k.fetched_ts = a.fetched_ts)
        """,
        [one.said.server_name for one in ordered],
    )


async def _put_answers(conn: Connection, said: Sequence[StoredAnswer]) -> None:
    await conn.execute(
        """
        INSERT INTO server_key_answers (server_name, fetched_ts, valid_until_ts, answer)
        SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[])
            ON CONFLICT (server_name, fetched_ts) DO UPDATE
           SET valid_until_ts = excluded.valid_until_ts, answer = excluded.answer
        """,
        [one.server_name for one in said],
        [one.fetched_ts for one in said],
        [one.valid_until_ts for one in said],
        [one.answer for one in said],
    )


async def _put_keys(conn: Connection, heard: Sequence[HeardKeys]) -> None:
    rows = sorted(
        (one.said.server_name, *key, one.said.fetched_ts, one.direct) for one in heard for key in one.keys
    )
    await conn.execute(
        """
        WITH told AS (
            SELECT *
              FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::bool[], $6::bigint[], $7::bool[])
                AS t (server_name, key_id, public_key, valid_until_ts, retired, fetched_ts, direct)
        ), believed AS (
            SELECT told.* FROM told LEFT JOIN server_keys known USING (server_name, key_id)
             WHERE known.key_id IS NULL
                OR told.direct
                OR NOT known.retired AND (told.retired OR told.valid_until_ts > known.valid_until_ts)
        )
        INSERT INTO server_keys AS known (server_name, key_id, public_key, valid_until_ts, retired, fetched_ts)
        SELECT server_name, key_id, public_key, valid_until_ts, retired, fetched_ts FROM believed
            ON CONFLICT (server_name, key_id) DO UPDATE
           SET public_key = excluded.public_key, valid_until_ts = excluded.valid_until_ts,
               retired = excluded.retired, fetched_ts = excluded.fetched_ts
         WHERE excluded.fetched_ts >= known.fetched_ts
        """,
        *(list(column) for column in zip(*rows, strict=True)),
    )
