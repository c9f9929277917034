"""The one clock: a number for everything that changes and that someone may wait for.

`advance` locks the clock's row until the transaction ends, so numbers become visible in the order they were
given, in any number of processes, and without gaps. Take it after all heavy work, right before the rows
that carry the numbers. Nearly all writers do not call it: they hand their rows or their job to the committer.
"""

from storage.database import Connection


async def advance(conn: Connection, count: int) -> int:
    """Take `count` numbers; returns the one before the first of them."""
    position: int = await conn.fetchval(
        "UPDATE clock SET position = position + $1 RETURNING position - $1", count
    )
    return position


async def current_position(conn: Connection) -> int:
    """The last number given out, as this connection sees it: everything up to it is visible."""
    position: int = await conn.fetchval("SELECT position FROM clock")
    return position
