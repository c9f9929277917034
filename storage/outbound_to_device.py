"""To-device messages for other servers: never lost, so they wait as rows until the peer has answered.

A row is written in the transaction of the request that sent it, with the number of that transaction's job; `edu` is the
canonical JSON of the whole EDU: {"content":{…},"edu_type":"m.direct_to_device"}.
"""

from collections.abc import Iterable, Sequence

from storage.database import Connection


async def add(conn: Connection, position: int, edus: Iterable[tuple[str, bytes]]) -> None:
    """(destination, EDU) pairs, in their order."""
    rows = list(edus)
    await conn.execute(
        """
        INSERT INTO outbound_to_device (position, ord, destination, edu)
        SELECT $1, ord, destination, edu
          FROM unnest($2::text[], $3::bytea[]) WITH ORDINALITY AS n(destination, edu, ord)
        """,
        position,
        [destination for destination, _ in rows],
        [edu for _, edu in rows],
    )


async def destinations(conn: Connection, after: int, upto: int) -> list[str]:
    """The servers for which something was written in a span of the clock."""
    rows = await conn.fetch(
        "SELECT DISTINCT destination FROM outbound_to_device WHERE position > $1 AND position <= $2",
        after,
        upto,
    )
    return [row[0] for row in rows]


async def waiting(conn: Connection, destination: str, limit: int) -> Sequence[tuple[int, int, bytes]]:
    """The oldest messages for a server: (position, ord, EDU)."""
    rows = await conn.fetch(
        """
        SELECT position, ord, edu FROM outbound_to_device
         WHERE destination = $1 ORDER BY position, ord LIMIT $2
        """,
        destination,
        limit,
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def delete(conn: Connection, destination: str, upto: tuple[int, int]) -> None:
    """The server has everything up to this message (its position and ord)."""
    await conn.execute(
        "DELETE FROM outbound_to_device WHERE destination = $1 AND (position, ord) <= ($2, $3)",
        destination,
        *upto,
    )


async def counts(conn: Connection, destinations: Iterable[str]) -> dict[str, int]:
    """How many messages wait for servers; those for which none do are left out."""
    rows = await conn.fetch(
        """
        SELECT destination, count(*) FROM outbound_to_device
         WHERE destination = ANY($1::text[]) GROUP BY destination
        """,
        list(destinations),
    )
    return {row[0]: row[1] for row in rows}
