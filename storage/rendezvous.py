"""Rows of `rendezvous`: what two devices of one user tell each other before one of them is logged in [MSC4108]."""

from attrs import frozen

from storage.database import Connection


@frozen
class Session:
    """What stands there now."""

    revision: int
    expires_ts: int
    content: bytes


async def add(conn: Connection, name: str, session: Session, now: int, most: int) -> bool:
    """Begin a session; False where there are `most` already. Those that are over go."""
    await conn.execute("DELETE FROM rendezvous WHERE expires_ts <= $1", now)
    done = await conn.execute(
        """
        INSERT INTO rendezvous (name, revision, expires_ts, content)
        SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM rendezvous) < $5
        """,
        name,
        session.revision,
        session.expires_ts,
        session.content,
        most,
    )
    return bool(int(done.split()[-1]))


async def find(conn: Connection, name: str, now: int) -> Session | None:
    row = await conn.fetchrow(
        "SELECT revision, expires_ts, content FROM rendezvous WHERE name = $1 AND expires_ts > $2", name, now
    )
    return None if row is None else Session(*row)


async def replace(
    conn: Connection, name: str, content: bytes, *, instead_of: int, now: int
) -> Session | None:
    """Put something else there; None where it is not (any more) the revision that it is to replace."""
    row = await conn.fetchrow(
        """
        UPDATE rendezvous SET revision = revision + 1, content = $2
         WHERE name = $1 AND revision = $3 AND expires_ts > $4 RETURNING revision, expires_ts, content
        """,
        name,
        content,
        instead_of,
        now,
    )
    return None if row is None else Session(*row)


async def delete(conn: Connection, name: str) -> bool:
    done = await conn.execute("DELETE FROM rendezvous WHERE name = $1", name)
    return bool(int(done.split()[-1]))
