"""Rows of `access_tokens`, `refresh_tokens`, `short_lived_tokens`: hashes of what clients prove themselves by."""

from attrs import frozen

from storage.database import Connection


@frozen(kw_only=True)
class TokenRow:
    """An access token with the account and the device it speaks for."""

    user_nid: int
    user_id: str
    device_nid: int | None
    device_id: str | None
    expires_ts: int | None
    last_seen_ts: int | None
    admin: bool
    guest: bool
    locked: bool
    suspended: bool
    refreshed: bool  # it came from a refresh, and the refresh token it came from still lives


@frozen
class LineRow:
    """The session whose refresh tokens a line is."""

    user_nid: int
    user_id: str
    device_id: str


@frozen
class RefreshRow:
    """A refresh token; `successor` is the one it has been exchanged for, `oauth_client` who may do that."""

    nid: int
    user_nid: int
    device_nid: int
    successor: int | None
    expires_ts: int | None
    device_id: str
    oauth_client: str | None


async def find_access_token(conn: Connection, token_hash: bytes) -> TokenRow | None:
    """Whom an access token speaks for."""
    row = await conn.fetchrow(
        """
        SELECT a.user_nid, u.user_id, a.device_nid, d.device_id, a.expires_ts, d.last_seen_ts,
               u.admin, u.guest, u.locked, u.suspended,
               EXISTS (SELECT FROM refresh_tokens r WHERE r.successor = a.refresh_nid) AS refreshed
          FROM access_tokens a
          JOIN accounts u ON u.user_nid = a.user_nid AND NOT u.deactivated
          LEFT JOIN devices d ON d.device_nid = a.device_nid
         WHERE a.token_hash = $1
        """,
        token_hash,
    )
    return None if row is None else TokenRow(**dict(row.items()))


async def find_session(conn: Connection, user_id: str, device_id: str | None) -> TokenRow | None:
    """An account that can be used, as if by a token of this device; without the device where there is none such."""
    row = await conn.fetchrow(
        """
        SELECT u.user_nid, u.user_id, d.device_nid, d.device_id, NULL::bigint AS expires_ts, d.last_seen_ts,
               u.admin, u.guest, u.locked, u.suspended, false AS refreshed
          FROM accounts u
          LEFT JOIN devices d ON d.user_nid = u.user_nid AND d.device_id = $2
         WHERE u.user_id = $1 AND NOT u.deactivated
        """,
        user_id,
        device_id,
    )
    return None if row is None else TokenRow(**dict(row.items()))


async def insert_access_token(
    conn: Connection,
    token_hash: bytes,
    device: tuple[int, int],
    *,
    refresh_nid: int | None,
    expires_ts: int | None,
    now: int,
) -> None:
    """A new access token of a device (user_nid, device_nid), made together with a refresh token or without."""
    await conn.execute(
        """
        INSERT INTO access_tokens (token_hash, user_nid, device_nid, refresh_nid, expires_ts, created_ts)
        VALUES ($1, $2, $3, $4, $5, $6)
        """,
        token_hash,
        *device,
        refresh_nid,
        expires_ts,
        now,
    )


async def insert_refresh_token(
    conn: Connection,
    token_hash: bytes,
    device: tuple[int, int],
    *,
    line: tuple[bytes, int] | None,
    expires_ts: int | None,
    now: int,
) -> int:
    """A new refresh token of a device (user_nid, device_nid), maybe at a place of a line; gives its number."""
    nid: int = await conn.fetchval(
        """
        INSERT INTO refresh_tokens (token_hash, user_nid, device_nid, line, generation, expires_ts, created_ts)
        VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING refresh_nid
        """,
        token_hash,
        *device,
        *(line or (None, None)),
        expires_ts,
        now,
    )
    return nid


async def session_of_line(
    conn: Connection, line: tuple[bytes, int], *, oauth_client: str, token_hash: bytes
) -> LineRow | None:
    """The session of a line that has grown beyond this place, where this token is no more."""
    row = await conn.fetchrow(
        """
        SELECT u.user_nid, u.user_id, d.device_id
          FROM refresh_tokens r
          JOIN devices d USING (device_nid)
          JOIN accounts u ON u.user_nid = d.user_nid
         WHERE r.line = $1 AND r.generation > $2 AND d.oauth_client = $3
           AND NOT EXISTS (SELECT FROM refresh_tokens WHERE token_hash = $4)
         LIMIT 1
        """,
        *line,
        oauth_client,
        token_hash,
    )
    return None if row is None else LineRow(*row)


async def lock_refresh_token(conn: Connection, token_hash: bytes) -> RefreshRow | None:
    """The refresh token, held until the transaction ends: two exchanges of one device's tokens follow each other.

    The device is locked first, as each statement that deletes it does: who refreshes looks at more than one token.
    """
    await conn.execute(
        """
        SELECT FROM devices
         WHERE device_nid = (SELECT device_nid FROM refresh_tokens WHERE token_hash = $1) FOR NO KEY UPDATE
        """,
        token_hash,
    )
    row = await conn.fetchrow(
        """
        SELECT r.refresh_nid, r.user_nid, r.device_nid, r.successor, r.expires_ts, d.device_id, d.oauth_client
          FROM refresh_tokens r
          JOIN accounts u ON u.user_nid = r.user_nid AND NOT u.deactivated
          JOIN devices d ON d.device_nid = r.device_nid
         WHERE r.token_hash = $1 FOR UPDATE OF r
        """,
        token_hash,
    )
    return None if row is None else RefreshRow(*row)


async def set_successor(conn: Connection, refresh_nid: int, successor: int) -> None:
    """The refresh token has been exchanged."""
    await conn.execute(
        "UPDATE refresh_tokens SET successor = $2 WHERE refresh_nid = $1", refresh_nid, successor
    )


async def delete_refresh_tokens(conn: Connection, refresh_nids: list[int]) -> list[bytes]:
    """Delete refresh tokens and the access tokens made together with them; gives the hashes of the latter."""
    rows = await conn.fetch(
        """
        WITH r AS (DELETE FROM refresh_tokens WHERE refresh_nid = ANY($1))
        DELETE FROM access_tokens WHERE refresh_nid = ANY($1) RETURNING token_hash
        """,
        refresh_nids,
    )
    return [row[0] for row in rows]


async def delete_predecessors(conn: Connection, refresh_nid: int) -> list[bytes]:
    """The pair `refresh_nid` is in use: the refresh token it came from dies [cs "Refreshing access tokens"].

    Gives the hashes of the access tokens that die with it.
    """
    rows = await conn.fetch(
        """
        WITH old AS (DELETE FROM refresh_tokens WHERE successor = $1 RETURNING refresh_nid)
        DELETE FROM access_tokens a USING old WHERE a.refresh_nid = old.refresh_nid RETURNING a.token_hash
        """,
        refresh_nid,
    )
    return [row[0] for row in rows]


async def refresh_of(conn: Connection, token_hash: bytes) -> int | None:
    """The refresh token that was made together with an access token."""
    nid: int | None = await conn.fetchval(
        "SELECT refresh_nid FROM access_tokens WHERE token_hash = $1", token_hash
    )
    return nid


async def delete_tokens_of_device(conn: Connection, user_nid: int, device_nid: int) -> None:
    """All tokens of one device."""
    await conn.execute(
        """
        WITH r AS (DELETE FROM refresh_tokens WHERE user_nid = $1 AND device_nid = $2)
        DELETE FROM access_tokens WHERE user_nid = $1 AND device_nid = $2
        """,
        user_nid,
        device_nid,
    )


async def delete_tokens_of_user(conn: Connection, user_nid: int) -> None:
    """All tokens of an account, also those of no device."""
    await conn.execute(
        """
        WITH r AS (DELETE FROM refresh_tokens WHERE user_nid = $1),
             s AS (DELETE FROM short_lived_tokens WHERE user_nid = $1),
             w AS (DELETE FROM web_sessions WHERE user_nid = $1)
        DELETE FROM access_tokens WHERE user_nid = $1
        """,
        user_nid,
    )


async def count_revocation(conn: Connection) -> int:
    """Tell all processes that something they may remember of tokens is no longer so; gives the new count."""
    count: int = await conn.fetchval("UPDATE revocations SET count = count + 1 RETURNING count")
    return count


async def revocations(conn: Connection) -> int:
    """How often `count_revocation` has been called."""
    count: int = await conn.fetchval("SELECT count FROM revocations")
    return count


async def insert_short_lived_token(
    conn: Connection, token_hash: bytes, *, purpose: str, user_nid: int, expires_ts: int
) -> None:
    """A token for one purpose."""
    await conn.execute(
        """
        INSERT INTO short_lived_tokens (token_hash, purpose, user_nid, expires_ts)
        VALUES ($1, $2, $3, $4)
        """,
        token_hash,
        purpose,
        user_nid,
        expires_ts,
    )


async def spend_short_lived_token(
    conn: Connection, token_hash: bytes, *, purpose: str, now: int
) -> int | None:
    """The user of a token that can be used once, by this; None if there is none or it came too late."""
    row = await conn.fetchrow(
        """
        DELETE FROM short_lived_tokens WHERE token_hash = $1 AND purpose = $2
        RETURNING user_nid, expires_ts
        """,
        token_hash,
        purpose,
    )
    return row["user_nid"] if row is not None and row["expires_ts"] > now else None


async def read_short_lived_token(
    conn: Connection, token_hash: bytes, *, purpose: str, now: int
) -> int | None:
    """The user of a token that may be used until it expires."""
    nid: int | None = await conn.fetchval(
        """
        SELECT user_nid FROM short_lived_tokens
         WHERE token_hash = $1 AND purpose = $2 AND expires_ts > $3
        """,
        token_hash,
        purpose,
        now,
    )
    return nid


async def delete_expired(conn: Connection, now: int) -> None:
    """Forget short-lived tokens and refresh tokens whose time is over, with the access tokens of the latter."""
    await conn.execute("DELETE FROM short_lived_tokens WHERE expires_ts <= $1", now)
    await conn.execute(
        """
        WITH old AS (DELETE FROM refresh_tokens WHERE expires_ts <= $1 RETURNING refresh_nid)
        DELETE FROM access_tokens a USING old WHERE a.refresh_nid = old.refresh_nid
        """,
        now,
    )


async def device_of_token(conn: Connection, token_hash: bytes) -> tuple[int, str] | None:
    """User and device of an access or refresh token."""
    row = await conn.fetchrow(
        """
        SELECT d.user_nid, d.device_id
          FROM (SELECT device_nid FROM access_tokens WHERE token_hash = $1
                UNION SELECT device_nid FROM refresh_tokens WHERE token_hash = $1) t
          JOIN devices d USING (device_nid)
        """,
        token_hash,
    )
    return None if row is None else (row[0], row[1])
