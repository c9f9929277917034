"""Rows of `sso_links`: whose account it is that somebody has at a login service."""

from storage.database import Connection


async def linked(conn: Connection, provider: str, subject: str) -> int | None:
    """The number of the user."""
    nid: int | None = await conn.fetchval(
        "SELECT user_nid FROM sso_links WHERE provider = $1 AND subject = $2", provider, subject
    )
    return nid


async def link(conn: Connection, provider: str, subject: str, user_nid: int, now: int) -> bool:
    """From now on; False where the subject is another user's already."""
    owner = await conn.fetchval(
        """
        INSERT INTO sso_links AS old (user_nid, linked_ts, provider, subject) VALUES ($3, $4, $1, $2)
            ON CONFLICT (provider, subject) DO UPDATE SET linked_ts = old.linked_ts
         WHERE old.user_nid = excluded.user_nid
        RETURNING user_nid
        """,
        provider,
        subject,
        user_nid,
        now,
    )
    return owner is not None


async def providers_of(conn: Connection, user_nid: int) -> list[str]:
    """The login services at which a user is known."""
    rows = await conn.fetch("SELECT DISTINCT provider FROM sso_links WHERE user_nid = $1", user_nid)
    return [row[0] for row in rows]
