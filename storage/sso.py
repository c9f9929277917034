"""Rows of `sso_links`: whose account it is that somebody has at a login service."""

from attrs import frozen

from storage.database import Connection


@frozen(kw_only=True)
class Known:
    """Who it is at a login service; `name` is how people recognize them."""

    provider: str
    subject: str
    name: str


@frozen
class LinkRow:
    """Somebody whom a login service knows, as part of an account."""

    link_nid: int
    linked_ts: int
    provider: str
    name: str


async def linked(conn: Connection, provider: str, subject: str) -> int | None:
    """The number of the user."""
    nid: int | None = await conn.fetchval(
        "SELECT user_nid FROM sso_links WHERE provider = $1 AND subject = $2", provider, subject
    )
    return nid


async def link(conn: Connection, known: Known, user_nid: int, now: int) -> bool:
    """From now on; False where the subject is another user's already."""
    owner = await conn.fetchval(
        """
        INSERT INTO sso_links AS old (user_nid, linked_ts, provider, subject, name) VALUES ($4, $5, $1, $2, $3)
            ON CONFLICT (provider, subject) DO UPDATE SET name = excluded.name
         WHERE old.user_nid = excluded.user_nid
        RETURNING user_nid
        """,
        known.provider,
        known.subject,
        known.name,
        user_nid,
        now,
    )
    return owner is not None


async def links_of(conn: Connection, user_nid: int) -> list[LinkRow]:
    """Whom login services know, in the order in which they were linked."""
    rows = await conn.fetch(
        "SELECT link_nid, linked_ts, provider, name FROM sso_links WHERE user_nid = $1 ORDER BY link_nid",
        user_nid,
    )
    return [LinkRow(*row) for row in rows]


async def has_password(conn: Connection, user_nid: int) -> bool:
    """Can they do without a login service? Their account is held until the transaction ends."""
    known: bool = await conn.fetchval(
        "SELECT password_hash IS NOT NULL FROM accounts WHERE user_nid = $1 FOR NO KEY UPDATE", user_nid
    )
    return known


async def unlink(conn: Connection, link_nid: int) -> None:
    """Who logs in there is nobody here any more."""
    await conn.execute("DELETE FROM sso_links WHERE link_nid = $1", link_nid)
