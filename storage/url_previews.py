"""What web pages said about themselves."""

from storage.database import Connection


async def find(conn: Connection, url_hash: bytes, since: int) -> str | None:
    """The answer for a URL, if it is not from before `since`."""
    answer: str | None = await conn.fetchval(
        "SELECT answer FROM url_previews WHERE url_hash = $1 AND fetched_ts >= $2", url_hash, since
    )
    return answer


async def put(conn: Connection, url_hash: bytes, now: int, answer: str) -> None:
    """Remember an answer in the place of an older one."""
    await conn.execute(
        """
        INSERT INTO url_previews (url_hash, fetched_ts, answer) VALUES ($1, $2, $3)
        ON CONFLICT (url_hash) DO UPDATE SET fetched_ts = excluded.fetched_ts, answer = excluded.answer
        """,
        url_hash,
        now,
        answer,
    )


async def delete_before(conn: Connection, before: int) -> None:
    """Forget what is old."""
    await conn.execute("DELETE FROM url_previews WHERE fetched_ts < $1", before)
