"""How far other servers have got what is for them: one number for all who have everything, rows for the others."""

from collections.abc import Collection, Mapping

from storage.database import Connection

FOLLOWER = "federation"


async def load(conn: Connection) -> tuple[int | None, dict[str, int]]:
    """The common bookmark (None: nothing was ever sent) and those of the servers that are behind it."""
    position = await conn.fetchval("SELECT position FROM followers WHERE name = $1", FOLLOWER)
    rows = await conn.fetch("SELECT destination, position FROM destination_bookmarks")
    return position, {row[0]: row[1] for row in rows}


async def save(conn: Connection, position: int, behind: Mapping[str, int], done: Collection[str]) -> None:
    """Move the common bookmark, with the rows of servers that are behind it and of those that no longer are."""
    await conn.execute(
        """
        WITH f AS (
            INSERT INTO followers (name, position) VALUES ($1, $2)
            ON CONFLICT (name) DO UPDATE SET position = excluded.position
        ), d AS (
            DELETE FROM destination_bookmarks WHERE destination = ANY($5::text[])
        )
        INSERT INTO destination_bookmarks AS old (destination, position)
        SELECT * FROM unnest($3::text[], $4::bigint[])
        ON CONFLICT (destination) DO UPDATE SET position = excluded.position
        """,
        FOLLOWER,
        position,
        list(behind),
        list(behind.values()),
        list(done),
    )
