"""Rows of `clock_marks`: how old a position of the clock is, to the day."""

from storage.database import Connection


async def mark(conn: Connection, now: int, *, apart: int, kept: int) -> bool:
    """Note where the clock stands, if the last mark is long ago; forget marks that nobody asks for any more."""
    marked = await conn.fetchval(
        """
        INSERT INTO clock_marks (ts, position)
        SELECT $1, position FROM clock
         WHERE NOT EXISTS (SELECT 1 FROM clock_marks WHERE ts > $1 - $2::bigint)
            ON CONFLICT DO NOTHING
        RETURNING 1
        """,
        now,
        apart,
    )
    await conn.execute("DELETE FROM clock_marks WHERE ts < $1", now - kept)
    return marked is not None


async def position_at(conn: Connection, ts: int) -> int:
    """Everything up to here is older than a time; 0 if nobody knows."""
    position: int = await conn.fetchval(
        "SELECT coalesce(max(position), 0) FROM clock_marks WHERE ts <= $1", ts
    )
    return position
