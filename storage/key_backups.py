"""Rows of `key_backups` and `room_keys`: versions of a user's backup, and the sessions in them.

`etag` and `count` move with every write. Whether a session is better than the one that is kept is decided by the
statement, so that writers of several devices come to the same.
"""

from collections.abc import AsyncIterator, Sequence

from attrs import frozen

from storage.database import Connection

AT_ONCE = 500  # rows of an answer of the database


@frozen
class Backup:
    """One version that was not deleted."""

    version: int
    algorithm: str
    auth_data: str
    count: int
    etag: int


@frozen
class RoomKey:
    """One session; `data` is JSON."""

    room_id: str
    session_id: str
    first_message_index: int
    forwarded_count: int
    is_verified: bool
    data: str


@frozen
class Scope:
    """What of a version is meant: all, a room, or a session of it."""

    user_nid: int
    version: int
    room_id: str | None = None
    session_id: str | None = None


async def create(conn: Connection, user_nid: int, algorithm: str, auth_data: str) -> int:
    """A new version; its number was never used before."""
    version: int = await conn.fetchval(
        """
        INSERT INTO key_backups (user_nid, version, algorithm, auth_data)
        SELECT $1, coalesce(max(version), 0) + 1, $2, $3 FROM key_backups WHERE user_nid = $1
        RETURNING version
        """,
        user_nid,
        algorithm,
        auth_data,
    )
    return version


async def find(conn: Connection, user_nid: int, version: int | None = None) -> Backup | None:
    """One version, or the latest."""
    row = await conn.fetchrow(
        """
        SELECT version, algorithm, auth_data, count, etag FROM key_backups
         WHERE user_nid = $1 AND NOT deleted AND ($2::bigint IS NULL OR version = $2)
         ORDER BY version DESC LIMIT 1
        """,
        user_nid,
        version,
    )
    return None if row is None else Backup(*row)


async def set_auth_data(conn: Connection, user_nid: int, version: int, auth_data: str) -> None:
    """Describe a version anew."""
    await conn.execute(
        "UPDATE key_backups SET auth_data = $3 WHERE user_nid = $1 AND version = $2 AND NOT deleted",
        user_nid,
        version,
        auth_data,
    )


async def delete(conn: Connection, user_nid: int, version: int) -> bool:
    """Delete a version with its sessions; False if there never was one. To be called in a transaction."""
    known = await conn.fetchval(
        """
        UPDATE key_backups SET deleted = true, auth_data = '{}', count = 0
         WHERE user_nid = $1 AND version = $2 RETURNING 1
        """,
        user_nid,
        version,
    )
    await conn.execute("DELETE FROM room_keys WHERE user_nid = $1 AND version = $2", user_nid, version)
    return known is not None


async def lock_latest(conn: Connection, user_nid: int) -> int | None:
    """The number of the latest version, which nobody else writes to until the transaction ends."""
    version: int | None = await conn.fetchval(
        """
        SELECT version FROM key_backups WHERE user_nid = $1 AND NOT deleted
         ORDER BY version DESC LIMIT 1 FOR UPDATE
        """,
        user_nid,
    )
    return version


async def put(conn: Connection, user_nid: int, version: int, keys: Sequence[RoomKey]) -> tuple[int, int]:
    """Keep those sessions that are better than what there is; gives how many were kept, and how many of them are new.

    [cs "Server-side key backups"]: verified wins, then the lower first index, then fewer forwards.
    """
    row = await conn.fetchrow(
        """
        WITH kept AS (
            INSERT INTO room_keys AS k (user_nid, version, room_id, session_id, first_message_index,
                                        forwarded_count, is_verified, session_data)
            SELECT $1, $2, * FROM unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bool[],
                                         $8::text[])
                ON CONFLICT (user_nid, version, room_id, session_id) DO UPDATE
               SET first_message_index = excluded.first_message_index,
                   forwarded_count = excluded.forwarded_count,
                   is_verified = excluded.is_verified, session_data = excluded.session_data
             WHERE (NOT excluded.is_verified, excluded.first_message_index, excluded.forwarded_count)
                 < (NOT k.is_verified, k.first_message_index, k.forwarded_count)
            RETURNING xmax = 0 AS added)
        SELECT count(*), count(*) FILTER (WHERE added) FROM kept
        """,
        user_nid,
        version,
        [key.room_id for key in keys],
        [key.session_id for key in keys],
        [key.first_message_index for key in keys],
        [key.forwarded_count for key in keys],
        [key.is_verified for key in keys],
        [key.data for key in keys],
    )
    assert row is not None
    return row[0], row[1]


async def count(conn: Connection, user_nid: int, version: int, *, kept: int, added: int) -> tuple[int, int]:
    """After all that one request puts; gives count and etag of the version."""
    row = await conn.fetchrow(
        """
        UPDATE key_backups SET count = count + $4, etag = etag + least($3, 1)
         WHERE user_nid = $1 AND version = $2
        RETURNING count, etag
        """,
        user_nid,
        version,
        kept,
        added,
    )
    assert row is not None
    return row[0], row[1]


async def get(conn: Connection, scope: Scope) -> AsyncIterator[RoomKey]:
    """The sessions, room by room. To be called in a transaction: there may be many, so they come bit by bit."""
    rows = conn.cursor(
        """
        SELECT room_id, session_id, first_message_index, forwarded_count, is_verified, session_data
          FROM room_keys
         WHERE user_nid = $1 AND version = $2 AND ($3::text IS NULL OR room_id = $3)
           AND ($4::text IS NULL OR session_id = $4)
         ORDER BY room_id, session_id
        """,
        scope.user_nid,
        scope.version,
        scope.room_id,
        scope.session_id,
        prefetch=AT_ONCE,
    )
    async for row in rows:
        yield RoomKey(*row)


async def remove(conn: Connection, scope: Scope) -> tuple[int, int] | None:
    """Delete sessions; gives count and etag, None where the version does not exist."""
    row = await conn.fetchrow(
        """
        WITH gone AS (
            DELETE FROM room_keys
             WHERE user_nid = $1 AND version = $2 AND ($3::text IS NULL OR room_id = $3)
               AND ($4::text IS NULL OR session_id = $4)
            RETURNING 1),
        change AS (SELECT count(*) AS gone FROM gone)
        UPDATE key_backups b SET count = b.count - change.gone, etag = b.etag + least(change.gone, 1)
          FROM change
         WHERE b.user_nid = $1 AND b.version = $2 AND NOT b.deleted
        RETURNING b.count, b.etag
        """,
        scope.user_nid,
        scope.version,
        scope.room_id,
        scope.session_id,
    )
    return None if row is None else (row[0], row[1])
