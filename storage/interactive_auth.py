"""Rows of `interactive_auth`: user-interactive authentications that are under way.

`key` stands for the session id, `request` and `facts` are sealed with it: the database alone tells nobody the passwords
in a request that waits for its next stage.
"""

from attrs import frozen

from storage.database import Connection


@frozen
class AuthRow:
    """What has been asked for (`purpose`, `request`), which stages are complete, and what these found out."""

    key: str
    purpose: str
    request: str
    completed: str
    facts: str


async def insert_session(conn: Connection, row: AuthRow, now: int) -> None:
    """A new session."""
    await conn.execute(
        """
        INSERT INTO interactive_auth (session_id, created_ts, purpose, request, completed, facts)
        VALUES ($1, $2, $3, $4, $5, $6)
        """,
        row.key,
        now,
        row.purpose,
        row.request,
        row.completed,
        row.facts,
    )


async def find_session(conn: Connection, key: str, *, not_before: int) -> AuthRow | None:
    """The session; None if there is none or it is too old."""
    row = await conn.fetchrow(
        """
        SELECT session_id, purpose, request, completed, facts FROM interactive_auth
         WHERE session_id = $1 AND created_ts >= $2
        """,
        key,
        not_before,
    )
    return None if row is None else AuthRow(*row)


async def replace_session(conn: Connection, old: AuthRow, new: AuthRow) -> bool:
    """Keep what changed; False if the session is no longer what `old` says."""
    key = await conn.fetchval(
        """
        UPDATE interactive_auth SET request = $4, completed = $5, facts = $6
         WHERE session_id = $1 AND completed = $2 AND facts = $3
        RETURNING session_id
        """,
        old.key,
        old.completed,
        old.facts,
        new.request,
        new.completed,
        new.facts,
    )
    return key is not None


async def delete_session(conn: Connection, row: AuthRow) -> bool:
    """The session is used up; False if it was so before."""
    key = await conn.fetchval(
        "DELETE FROM interactive_auth WHERE session_id = $1 RETURNING session_id", row.key
    )
    return key is not None


async def delete_sessions_before(conn: Connection, before: int) -> None:
    """Forget sessions that were never completed."""
    await conn.execute("DELETE FROM interactive_auth WHERE created_ts < $1", before)
