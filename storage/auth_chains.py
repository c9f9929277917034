"""The chain cover of rooms' auth events, as it is stored in their rows: where chains end, and the links of places."""

from collections.abc import Iterable

from homeserver.core.state_resolution.chain_cover import Band, Links, Place
from storage.database import Connection
from storage.room_state import StatePoint, whole


async def chain_tips(conn: Connection, room_nid: int, chains: Iterable[int]) -> dict[int, int]:
    """The last number of each chain."""
    rows = await conn.fetch(
        """
        SELECT c.chain, t.chain_seq
          FROM unnest($2::int[]) AS c(chain)
         CROSS JOIN LATERAL (SELECT chain_seq FROM events
                              WHERE room_nid = $1 AND chain = c.chain ORDER BY chain_seq DESC LIMIT 1) AS t
        """,
        room_nid,
        list(chains),
    )
    return {row[0]: row[1] for row in rows}


async def last_chain(conn: Connection, room_nid: int) -> int:
    """The highest number of a chain that the room has; 0: none."""
    return await conn.fetchval("SELECT max(chain) FROM events WHERE room_nid = $1", room_nid) or 0


async def links_of(conn: Connection, room_nid: int, places: Iterable[Place]) -> dict[Place, Links]:
    """The links that the chain of each place has gathered up to it."""
    wanted = list(places)
    rows = await conn.fetch(
        """
        SELECT e.chain, e.chain_seq, e.chain_links
          FROM unnest($2::int[], $3::int[]) AS p(chain, seq)
          JOIN events e ON e.room_nid = $1 AND e.chain = p.chain AND e.chain_seq = p.seq
        """,
        room_nid,
        [place.chain for place in wanted],
        [place.seq for place in wanted],
    )
    return {Place(row[0], row[1]): tuple(row[2] or ()) for row in rows}


async def rows_of(conn: Connection, room_nid: int, upto: Iterable[Place]) -> dict[int, dict[int, Links]]:
    """The links of all places of chains, up to a number each."""
    wanted = list(upto)
    rows = await conn.fetch(
        """
        SELECT e.chain, e.chain_seq, e.chain_links
          FROM unnest($2::int[], $3::int[]) AS p(chain, seq)
          JOIN events e ON e.room_nid = $1 AND e.chain = p.chain AND e.chain_seq <= p.seq
        """,
        room_nid,
        [place.chain for place in wanted],
        [place.seq for place in wanted],
    )
    found: dict[int, dict[int, Links]] = {}
    for row in rows:
        found.setdefault(row[0], {})[row[1]] = tuple(row[2] or ())
    return found


async def in_bands(conn: Connection, room_nid: int, bands: Iterable[Band]) -> list[int]:
    """The numbers of the events in bands of chains."""
    wanted = list(bands)
    rows = await conn.fetch(
        """
        SELECT e.event_nid
          FROM unnest($2::int[], $3::int[], $4::int[]) AS b(chain, above, upto)
          JOIN events e ON e.room_nid = $1 AND e.chain = b.chain AND e.chain_seq > b.above AND e.chain_seq <= b.upto
        """,
        room_nid,
        [band.chain for band in wanted],
        [band.above for band in wanted],
        [band.upto for band in wanted],
    )
    return [row[0] for row in rows]


async def places_of_state(
    conn: Connection, room_nid: int, point: StatePoint, without: Iterable[int]
) -> list[Place]:
    """The furthest place of each chain that the entries of a state, less some keys, are at or link to.

    Walks the whole state inside PostgreSQL; only forks whose auth chains differ beyond the conflict ask for it.
    """
    state = await whole(conn, room_nid, point)
    skipped = set(without)
    rows = await conn.fetch(
        """
        WITH entries AS (SELECT chain, chain_seq, chain_links, auth_nids FROM events
                          WHERE event_nid = ANY($1::bigint[])),
        cited AS (SELECT DISTINCT unnest(auth_nids) AS nid FROM entries WHERE chain IS NULL),
        standing AS (SELECT chain, chain_seq FROM entries WHERE chain IS NOT NULL
                     UNION ALL
                     SELECT e.chain, e.chain_seq FROM events e JOIN cited ON e.event_nid = cited.nid
                      WHERE e.chain IS NOT NULL)
        SELECT chain, max(chain_seq) FROM standing GROUP BY chain
        """,
        [nid for key, nid in state.items() if key not in skipped],
    )
    return [Place(row[0], row[1]) for row in rows]
