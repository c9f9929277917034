"""Our room aliases, and which rooms stand in our public directory."""

from collections.abc import Iterable, Sequence

from attrs import frozen

from storage.database import Connection
from storage.room_batches import RoomBatch


@frozen
class Alias:
    """One of our aliases: the room it leads to and who made it."""

    room_nid: int
    room_id: str
    creator_nid: int


async def insert_listings(conn: Connection, batches: Sequence[RoomBatch]) -> None:
    """Aliases and publication of new rooms, in the transaction that makes them. Raises UniqueViolation."""
    listed = [(batch, batch.listing) for batch in batches if batch.listing is not None]
    aliases = [(b, listing.alias) for b, listing in listed if listing.alias is not None]
    if aliases:
        await conn.execute(
            """
            INSERT INTO aliases (alias, room_nid, creator_nid, created_ts)
            SELECT * FROM unnest($1::text[], $2::int[], $3::int[], $4::bigint[])
            """,
            [alias for _, (alias, _) in aliases],
            [batch.room_nid for batch, _ in aliases],
            [creator for _, (_, creator) in aliases],
            [batch.events[0].origin_server_ts for batch, _ in aliases],
        )
    published = [batch.room_nid for batch, listing in listed if listing.published]
    if published:
        await conn.execute("INSERT INTO published_rooms SELECT unnest($1::int[])", published)


async def find_aliases(conn: Connection, aliases: Iterable[str]) -> dict[str, Alias]:
    """Those of the aliases that exist."""
    rows = await conn.fetch(
        """
        SELECT a.alias, a.room_nid, r.room_id, a.creator_nid
          FROM aliases a JOIN rooms r USING (room_nid)
         WHERE a.alias = ANY($1::text[])
        """,
        list(aliases),
    )
    return {row["alias"]: Alias(row["room_nid"], row["room_id"], row["creator_nid"]) for row in rows}


async def aliases_of(conn: Connection, room_nid: int) -> list[str]:
    """A room's aliases on this server."""
    rows = await conn.fetch("SELECT alias FROM aliases WHERE room_nid = $1 ORDER BY alias", room_nid)
    return [row[0] for row in rows]


async def insert_alias(
    conn: Connection, alias: str, room_nid: int, *, creator_nid: int, created_ts: int
) -> bool:
    """A new alias; False if it exists already."""
    made = await conn.fetchval(
        """
        INSERT INTO aliases (alias, room_nid, creator_nid, created_ts) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING RETURNING true
        """,
        alias,
        room_nid,
        creator_nid,
        created_ts,
    )
    return made is not None


async def delete_alias(conn: Connection, alias: str) -> None:
    """The alias leads nowhere any more."""
    await conn.execute("DELETE FROM aliases WHERE alias = $1", alias)


async def move_aliases(conn: Connection, old_nid: int, new_nid: int) -> None:
    """All aliases of one room lead to another one."""
    await conn.execute("UPDATE aliases SET room_nid = $2 WHERE room_nid = $1", old_nid, new_nid)


async def is_published(conn: Connection, room_nid: int) -> bool:
    """Does the room stand in our directory?"""
    return bool(
        await conn.fetchval("SELECT EXISTS (SELECT FROM published_rooms WHERE room_nid = $1)", room_nid)
    )


async def set_published(conn: Connection, room_nid: int, *, published: bool) -> None:
    """Put the room into our directory, or take it out."""
    if published:
        await conn.execute("INSERT INTO published_rooms VALUES ($1) ON CONFLICT DO NOTHING", room_nid)
    else:
        await conn.execute("DELETE FROM published_rooms WHERE room_nid = $1", room_nid)


async def published(conn: Connection) -> list[int]:
    """The rooms in our directory, those with most members first."""
    rows = await conn.fetch(
        """
        SELECT p.room_nid FROM published_rooms p JOIN room_heads h USING (room_nid)
         ORDER BY h.joined DESC, p.room_nid
        """
    )
    return [row[0] for row in rows]


async def published_anywhere(conn: Connection) -> list[int]:
    """The rooms in our directory and in those of all networks, in the same order."""
    rows = await conn.fetch(
        """
        SELECT p.room_nid
          FROM (SELECT room_nid FROM published_rooms UNION SELECT room_nid FROM network_rooms) p
          JOIN room_heads h USING (room_nid)
         ORDER BY h.joined DESC, p.room_nid
        """
    )
    return [row[0] for row in rows]


async def published_by(conn: Connection, service_id: str, network_id: str) -> list[int]:
    """The rooms in the directory that an application service keeps for a network, in the same order."""
    rows = await conn.fetch(
        """
        SELECT p.room_nid FROM network_rooms p JOIN room_heads h USING (room_nid)
         WHERE p.service_id = $1 AND p.network_id = $2
         ORDER BY h.joined DESC, p.room_nid
        """,
        service_id,
        network_id,
    )
    return [row[0] for row in rows]


async def set_published_by(
    conn: Connection, service_id: str, network_id: str, room_nid: int, *, published: bool
) -> None:
    """Put a room into such a directory, or take it out."""
    if published:
        statement = """
            INSERT INTO network_rooms (service_id, network_id, room_nid) VALUES ($1, $2, $3)
            ON CONFLICT DO NOTHING
        """
    else:
        statement = "DELETE FROM network_rooms WHERE service_id = $1 AND network_id = $2 AND room_nid = $3"
    await conn.execute(statement, service_id, network_id, room_nid)


async def move_publication(conn: Connection, old_nid: int, new_nid: int) -> None:
    """A room stands in our directory in place of another one, if that one did."""
    await conn.execute(
        """
        WITH gone AS (DELETE FROM published_rooms WHERE room_nid = $1 RETURNING room_nid)
        INSERT INTO published_rooms SELECT $2 FROM gone ON CONFLICT DO NOTHING
        """,
        old_nid,
        new_nid,
    )


async def published_of(conn: Connection, room_ids: Iterable[str]) -> set[str]:
    """Which of these rooms stand in our directory."""
    rows = await conn.fetch(
        "SELECT r.room_id FROM rooms r JOIN published_rooms USING (room_nid) WHERE r.room_id = ANY($1)",
        list(room_ids),
    )
    return {row[0] for row in rows}
