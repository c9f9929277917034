"""Rows of `oauth_clients`, `oauth_codes`, `oauth_device_codes`, `web_sessions`: OAuth 2.0 and the pages it leads to."""

from attrs import frozen

from storage.database import Connection


@frozen(kw_only=True)
class CodeRow:
    """What a user has granted to a client, until the client comes for it."""

    user_nid: int
    client_id: str
    device_id: str
    scope: str
    redirect_uri: str
    challenge: str
    expires_ts: int


@frozen(kw_only=True)
class DeviceCodeRow:
    """A login that waits for a user elsewhere; `user_nid` is who has confirmed it."""

    user_nid: int | None
    denied: bool
    polled_ts: int
    expires_ts: int
    client_id: str
    device_id: str
    scope: str


async def keep_client(conn: Connection, client_id: str, metadata: str, now: int) -> None:
    """Register a client, or remember that one like it came again."""
    await conn.execute(
        """
        INSERT INTO oauth_clients (client_id, metadata, used_ts) VALUES ($1, $2, $3)
            ON CONFLICT (client_id) DO UPDATE SET used_ts = excluded.used_ts
        """,
        client_id,
        metadata,
        now,
    )


async def find_client(conn: Connection, client_id: str) -> str | None:
    """The metadata of a client, as JSON."""
    metadata: str | None = await conn.fetchval(
        "SELECT metadata FROM oauth_clients WHERE client_id = $1", client_id
    )
    return metadata


async def forget_clients(conn: Connection, before: int) -> None:
    """Delete clients that came last before this moment and have no session [cs "Dynamic client registration flow"]."""
    await conn.execute(
        """
        DELETE FROM oauth_clients c
         WHERE used_ts < $1 AND NOT EXISTS (SELECT FROM devices d WHERE d.oauth_client = c.client_id)
        """,
        before,
    )


async def insert_code(conn: Connection, code_hash: bytes, row: CodeRow) -> None:
    """A new authorization code."""
    await conn.execute(
        """
        INSERT INTO oauth_codes
               (code_hash, user_nid, client_id, device_id, scope, redirect_uri, challenge, expires_ts)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        """,
        code_hash,
        row.user_nid,
        row.client_id,
        row.device_id,
        row.scope,
        row.redirect_uri,
        row.challenge,
        row.expires_ts,
    )


async def spend_code(conn: Connection, code_hash: bytes) -> tuple[CodeRow, bool] | None:
    """The code, spent by this, and whether it had been spent before."""
    row = await conn.fetchrow(
        """
        UPDATE oauth_codes n SET spent = true
          FROM (SELECT code_hash, spent FROM oauth_codes WHERE code_hash = $1 FOR UPDATE) o
         WHERE n.code_hash = o.code_hash
        RETURNING n.user_nid, n.client_id, n.device_id, n.scope, n.redirect_uri, n.challenge, n.expires_ts,
                  o.spent AS was_spent
        """,
        code_hash,
    )
    if row is None:
        return None
    values = dict(row.items())
    was_spent: bool = values.pop("was_spent")
    return CodeRow(**values), was_spent


async def insert_device_code(conn: Connection, code_hash: bytes, user_code: str, row: DeviceCodeRow) -> bool:
    """A new device code; False if the user code is one that somebody else is asked for just now."""
    done: str = await conn.execute(
        """
        INSERT INTO oauth_device_codes (code_hash, user_code, client_id, device_id, scope, expires_ts)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING
        """,
        code_hash,
        user_code,
        row.client_id,
        row.device_id,
        row.scope,
        row.expires_ts,
    )
    return done == "INSERT 0 1"


async def lock_device_code(conn: Connection, code_hash: bytes) -> DeviceCodeRow | None:
    """The device code, held until the transaction ends: two polls follow each other."""
    row = await conn.fetchrow(
        """
        SELECT user_nid, denied, polled_ts, expires_ts, client_id, device_id, scope
          FROM oauth_device_codes WHERE code_hash = $1 FOR UPDATE
        """,
        code_hash,
    )
    return None if row is None else DeviceCodeRow(**dict(row.items()))


async def device_code_of_user_code(conn: Connection, user_code: str, now: int) -> DeviceCodeRow | None:
    """The device code that a user was asked to confirm by this word."""
    row = await conn.fetchrow(
        """
        SELECT user_nid, denied, polled_ts, expires_ts, client_id, device_id, scope
          FROM oauth_device_codes WHERE user_code = $1 AND expires_ts > $2
        """,
        user_code,
        now,
    )
    return None if row is None else DeviceCodeRow(**dict(row.items()))


async def note_poll(conn: Connection, code_hash: bytes, now: int) -> None:
    """The client has asked."""
    await conn.execute("UPDATE oauth_device_codes SET polled_ts = $2 WHERE code_hash = $1", code_hash, now)


async def delete_device_code(conn: Connection, code_hash: bytes) -> None:
    """The client knows how it ended."""
    await conn.execute("DELETE FROM oauth_device_codes WHERE code_hash = $1", code_hash)


async def decide_device_code(conn: Connection, user_code: str, user_nid: int | None, now: int) -> bool:
    """The user confirms, or denies (None); False if it is decided already, or too late."""
    done: str = await conn.execute(
        """
        UPDATE oauth_device_codes SET user_nid = $2, denied = $2::int IS NULL
         WHERE user_code = $1 AND user_nid IS NULL AND NOT denied AND expires_ts > $3
        """,
        user_code,
        user_nid,
        now,
    )
    return done == "UPDATE 1"


async def open_web_session(conn: Connection, token_hash: bytes, user_nid: int, expires_ts: int) -> None:
    """Somebody has logged in on our pages."""
    await conn.execute(
        "INSERT INTO web_sessions (token_hash, user_nid, expires_ts) VALUES ($1, $2, $3)",
        token_hash,
        user_nid,
        expires_ts,
    )


async def web_session(conn: Connection, token_hash: bytes, now: int) -> tuple[int, int] | None:
    """Who is logged in, and until when."""
    row = await conn.fetchrow(
        "SELECT user_nid, expires_ts FROM web_sessions WHERE token_hash = $1 AND expires_ts > $2",
        token_hash,
        now,
    )
    return None if row is None else (row[0], row[1])


async def close_web_session(conn: Connection, token_hash: bytes) -> None:
    """Somebody logs out of our pages."""
    await conn.execute("DELETE FROM web_sessions WHERE token_hash = $1", token_hash)


async def close_web_sessions_of(conn: Connection, user_nid: int) -> None:
    """All browsers of a user are logged out."""
    await conn.execute("DELETE FROM web_sessions WHERE user_nid = $1", user_nid)


async def delete_expired(conn: Connection, now: int) -> None:
    """Forget what can no longer be used."""
    await conn.execute("DELETE FROM oauth_codes WHERE expires_ts <= $1", now)
    await conn.execute("DELETE FROM oauth_device_codes WHERE expires_ts <= $1", now)
    await conn.execute("DELETE FROM web_sessions WHERE expires_ts <= $1", now)
