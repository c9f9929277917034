"""Media: which mxc URIs there are, and which files they stand for."""

from collections.abc import Sequence

from attrs import frozen

from storage.database import Connection

OURS = ""  # the origin of our own media


@frozen
class MediaName:
    """What an mxc URI names. `origin` is OURS for media of this server."""

    origin: str
    media_id: str


@frozen
class Content:
    """A file: its SHA-256 and its length."""

    digest: bytes
    size: int


@frozen
class Label:
    """What its uploader says of a file."""

    content_type: str
    file_name: str | None = None


@frozen(kw_only=True)
class Medium:
    """A row of `media`. `content` is None while nothing was uploaded."""

    name: MediaName
    content: Content | None
    label: Label
    owner_nid: int | None = None
    created_ts: int = 0
    used_ts: int = 0
    expires_ts: int | None = None
    authenticated: bool = True  # never to be had without a token
    quarantined: bool = False


_COLUMNS = """origin, media_id, digest, size, content_type, file_name, owner_nid, created_ts, used_ts,
              expires_ts, authenticated, quarantined"""


async def insert(conn: Connection, medium: Medium) -> bool:
    """Add it, unless the name is taken. What has a file that is quarantined elsewhere is so too."""
    content = medium.content
    inserted = await conn.fetchval(
        """
        INSERT INTO media (origin, media_id, digest, size, content_type, file_name, owner_nid, created_ts, used_ts,
                           expires_ts, authenticated, quarantined)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10,
                EXISTS (SELECT FROM media WHERE digest = $3 AND quarantined))
        ON CONFLICT DO NOTHING
        RETURNING true
        """,
        medium.name.origin,
        medium.name.media_id,
        content.digest if content else None,
        content.size if content else None,
        medium.label.content_type,
        medium.label.file_name,
        medium.owner_nid,
        medium.created_ts,
        medium.expires_ts,
        medium.authenticated,
    )
    return inserted is not None


async def fill(
    conn: Connection, media_id: str, content: Content, label: Label, *, authenticated: bool
) -> bool:
    """The file of an id that had none; False when it has one by now, or is gone."""
    filled = await conn.fetchval(
        """
        UPDATE media
           SET digest = $2, size = $3, content_type = $4, file_name = $5, authenticated = $6, expires_ts = NULL,
               quarantined = EXISTS (SELECT FROM media other WHERE other.digest = $2 AND other.quarantined)
         WHERE origin = '' AND media_id = $1 AND digest IS NULL
        RETURNING true
        """,
        media_id,
        content.digest,
        content.size,
        label.content_type,
        label.file_name,
        authenticated,
    )
    return filled is not None


async def find(conn: Connection, name: MediaName) -> Medium | None:
    """The medium of this name."""
    row = await conn.fetchrow(
        f"SELECT {_COLUMNS} FROM media WHERE origin = $1 AND media_id = $2",  # noqa: S608 (a constant)
        name.origin,
        name.media_id,
    )
    if row is None:
        return None
    return Medium(
        name=name,
        content=Content(row["digest"], row["size"]) if row["digest"] is not None else None,
        label=Label(row["content_type"], row["file_name"]),
        owner_nid=row["owner_nid"],
        created_ts=row["created_ts"],
        used_ts=row["used_ts"],
        expires_ts=row["expires_ts"],
        authenticated=row["authenticated"],
        quarantined=row["quarantined"],
    )


async def lock_owner(conn: Connection, owner_nid: int) -> None:
    """What one user has is counted by one transaction at a time."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('media of ' || $1::int, 0))", owner_nid)


async def usage(conn: Connection, owner_nid: int) -> tuple[int, int]:
    """How many files one user has uploaded, and how many bytes they have."""
    row = await conn.fetchrow(
        "SELECT count(digest), coalesce(sum(size), 0)::bigint FROM media WHERE owner_nid = $1", owner_nid
    )
    assert row is not None
    return row[0], row[1]


async def pending(conn: Connection, owner_nid: int, now: int) -> tuple[int, int]:
    """How many ids of a user wait for their files, and when the first of them expires."""
    row = await conn.fetchrow(
        """
        SELECT count(*), coalesce(min(expires_ts), $2) FROM media
         WHERE owner_nid = $1 AND digest IS NULL AND expires_ts > $2
        """,
        owner_nid,
        now,
    )
    assert row is not None
    return row[0], row[1]


async def lock_files(conn: Connection, digests: Sequence[bytes]) -> None:
    """Nobody else adds or removes these files until the transaction ends."""
    await conn.execute(
        """
        SELECT pg_advisory_xact_lock(key)
          FROM (SELECT hashtextextended(encode(digest, 'hex'), 0) FROM unnest($1::bytea[]) AS d (digest)
                 ORDER BY 1) AS sorted (key)
        """,
        list(digests),
    )


async def unused_files(conn: Connection, digests: Sequence[bytes]) -> list[bytes]:
    """Those of the files that no medium and no thumbnail has."""
    rows = await conn.fetch(
        """
        SELECT d.digest FROM unnest($1::bytea[]) AS d (digest)
         WHERE NOT EXISTS (SELECT FROM media m WHERE m.digest = d.digest)
           AND NOT EXISTS (SELECT FROM media_thumbnails t WHERE t.digest = d.digest)
        """,
        list(digests),
    )
    return [row["digest"] for row in rows]


async def delete(conn: Connection, name: MediaName) -> list[bytes] | None:
    """Forget a medium; gives the files that may be without an owner now, or None if there was no such medium."""
    row = await conn.fetchrow(
        "DELETE FROM media WHERE origin = $1 AND media_id = $2 RETURNING digest", name.origin, name.media_id
    )
    if row is None:
        return None
    return await _with_thumbnails(conn, [row["digest"]])


async def delete_expired(conn: Connection, now: int) -> list[bytes]:
    """Forget ids that nobody used in time, and images of old previews."""
    rows = await conn.fetch("DELETE FROM media WHERE expires_ts <= $1 RETURNING digest", now)
    return await _with_thumbnails(conn, [row["digest"] for row in rows])


async def delete_least_used(conn: Connection, keep_bytes: int) -> list[bytes]:
    """Forget media of other servers beyond so many bytes, those first that were not used for the longest time."""
    rows = await conn.fetch(
        """
        WITH kept AS (
            SELECT media_id, origin, sum(size) OVER (ORDER BY used_ts DESC, media_id, origin) AS so_far
              FROM media WHERE origin <> '' AND NOT quarantined
        )
        DELETE FROM media m USING kept k
         WHERE k.so_far > $1 AND m.media_id = k.media_id AND m.origin = k.origin
        RETURNING m.digest
        """,
        keep_bytes,
    )
    return await _with_thumbnails(conn, [row["digest"] for row in rows])


async def delete_copies(conn: Connection, before: int) -> tuple[int, list[bytes]]:
    """Forget media of other servers that nobody wanted since; gives how many, and their files."""
    rows = await conn.fetch(
        "DELETE FROM media WHERE origin <> '' AND NOT quarantined AND used_ts < $1 RETURNING digest", before
    )
    return len(rows), await _with_thumbnails(conn, [row["digest"] for row in rows])


async def _with_thumbnails(conn: Connection, digests: Sequence[bytes | None]) -> list[bytes]:
    """These files, and the thumbnails of those that no medium has any more."""
    files = sorted({digest for digest in digests if digest is not None})
    rows = await conn.fetch(
        """
        DELETE FROM media_thumbnails t
         WHERE t.source = ANY($1) AND NOT EXISTS (SELECT FROM media m WHERE m.digest = t.source)
        RETURNING t.digest
        """,
        files,
    )
    return sorted({*files, *(row["digest"] for row in rows)})


async def remote_bytes(conn: Connection) -> int:
    """How much is kept of other servers' media."""
    total: int = await conn.fetchval(
        "SELECT coalesce(sum(size), 0)::bigint FROM media WHERE origin <> '' AND NOT quarantined"
    )
    return total


async def count_withdrawal(conn: Connection) -> None:
    """Tell all processes that media they may remember are not to be had any more: the last of a transaction."""
    await conn.execute("UPDATE media_withdrawals SET count = count + 1")


async def withdrawals(conn: Connection) -> int:
    """How often `count_withdrawal` has been called."""
    count: int = await conn.fetchval("SELECT count FROM media_withdrawals")
    return count


async def used(conn: Connection, name: MediaName, now: int) -> None:
    """Somebody wanted it."""
    await conn.execute(
        "UPDATE media SET used_ts = $3 WHERE origin = $1 AND media_id = $2", name.origin, name.media_id, now
    )


async def quarantine(conn: Connection, name: MediaName, *, quarantined: bool) -> int:
    """Withhold a medium, and all that have the same file, or give them free; gives how many."""
    rows = await conn.fetch(
        """
        UPDATE media SET quarantined = $3
         WHERE (origin = $1 AND media_id = $2)
            OR digest = (SELECT digest FROM media WHERE origin = $1 AND media_id = $2)
        RETURNING media_id
        """,
        name.origin,
        name.media_id,
        quarantined,
    )
    return len(rows)
