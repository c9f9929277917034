"""How other servers fare when we ask them: failures, and when to try again."""

from collections.abc import Sequence

from attrs import frozen

from storage.database import Connection


@frozen
class Destination:
    """A row of `destinations`; times in ms, 0 where there is none."""

    server_name: str
    failures: int = 0  # in a row
    failing_since: int = 0
    retry_at: int = 0
    last_success: int = 0
    last_error: str = ""


_COLUMNS = "server_name, failures, failing_since, retry_at, last_success, last_error"


async def put(conn: Connection, destinations: Sequence[Destination]) -> None:
    """How these servers fare from now on."""
    await conn.execute(
        """
        INSERT INTO destinations (server_name, failures, failing_since, retry_at, last_success, last_error)
        SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[])
        ON CONFLICT (server_name)
        DO UPDATE SET failures = excluded.failures, failing_since = excluded.failing_since,
                      retry_at = excluded.retry_at, last_success = excluded.last_success,
                      last_error = excluded.last_error
        """,
        [one.server_name for one in destinations],
        [one.failures for one in destinations],
        [one.failing_since for one in destinations],
        [one.retry_at for one in destinations],
        [one.last_success for one in destinations],
        [one.last_error for one in destinations],
    )


async def failing(conn: Connection, most: int) -> list[Destination]:
    """The servers that did not answer last time, those that were tried last first."""
    rows = await conn.fetch(
        f"""
        SELECT {_COLUMNS}
          FROM destinations
         WHERE failures > 0
         ORDER BY retry_at DESC
         LIMIT $1
        """,  # noqa: S608 (a constant)
        most,
    )
    return [Destination(*row) for row in rows]


async def page(conn: Connection, after: str, most: int) -> list[Destination]:
    """Known servers by name, behind `after`: for the operator."""
    rows = await conn.fetch(
        f"SELECT {_COLUMNS} FROM destinations WHERE server_name > $1 ORDER BY server_name LIMIT $2",  # noqa: S608
        after,
        most,
    )
    return [Destination(*row) for row in rows]


async def find(conn: Connection, server_name: str) -> Destination | None:
    """One server, if we have had to do with it."""
    row = await conn.fetchrow(
        f"SELECT {_COLUMNS} FROM destinations WHERE server_name = $1",  # noqa: S608 (a constant)
        server_name,
    )
    return None if row is None else Destination(*row)


async def count(conn: Connection) -> int:
    """How many servers we have had to do with."""
    found: int = await conn.fetchval("SELECT count(*) FROM destinations")
    return found
