"""Connections of sliding sync: what each client has been told of its rooms.

A client may lose an answer and ask again, so what an answer told counts only when the client comes back with it: rows
have the ordinal of their answer, and those of an answer that never arrived go with the next one.
"""

from collections.abc import Iterable, Mapping

from attrs import frozen

from storage.database import Connection


@frozen
class SentRoom:
    """What a client was told of a room: up to `told` (None: up to where the connection stands).

    It has the `have` latest events without a gap, the state that the wish with this digest names, and these members
    because they spoke. `stub`: it knows the room as an outsider. `profiles`: the digest of the wish by which it was
    told the profiles of who is there; 0: it was not. The room 0 is none, and only has this of the client's own profile.
    """

    told: int | None
    have: int
    wish: int
    dm: bool = False
    stub: bool = False
    members: frozenset[int] = frozenset()
    profiles: int = 0


@frozen
class Place:
    """Whose connection it is."""

    user_nid: int
    device_nid: int
    conn_id: str


@frozen
class Stored:
    """A connection as of an ordinal."""

    connection_nid: int
    rooms: dict[int, SentRoom]
    subscriptions: str | None


async def begin(conn: Connection, place: Place, now: int) -> int:
    """A new connection in the place of an older one."""
    await conn.execute(
        "DELETE FROM sync_connections WHERE user_nid = $1 AND device_nid = $2 AND conn_id = $3",
        place.user_nid,
        place.device_nid,
        place.conn_id,
    )
    nid: int = await conn.fetchval(
        """
        INSERT INTO sync_connections (ordinal, used_ts, user_nid, device_nid, conn_id)
        VALUES (0, $4, $1, $2, $3) RETURNING connection_nid
        """,
        place.user_nid,
        place.device_nid,
        place.conn_id,
        now,
    )
    return nid


async def drop_unused(conn: Connection, place: Place, before: int, most: int) -> None:
    """Delete some connections that nobody used since `before`, and a device's oldest ones beyond `most`."""
    await conn.execute(
        """
        DELETE FROM sync_connections WHERE connection_nid = ANY (ARRAY(
            (SELECT connection_nid FROM sync_connections WHERE used_ts < $3 ORDER BY used_ts LIMIT 100)
            UNION ALL
            (SELECT connection_nid FROM sync_connections WHERE user_nid = $1 AND device_nid = $2
              ORDER BY used_ts DESC, connection_nid DESC OFFSET $4)))
        """,
        place.user_nid,
        place.device_nid,
        before,
        most,
    )


async def load(conn: Connection, place: Place, connection_nid: int, ordinal: int) -> Stored | None:
    """The connection, if it is there and has come to `ordinal`."""
    row = await conn.fetchrow(
        """
        SELECT subscriptions FROM sync_connections
         WHERE connection_nid = $4 AND user_nid = $1 AND device_nid = $2 AND conn_id = $3 AND ordinal >= $5
        """,
        place.user_nid,
        place.device_nid,
        place.conn_id,
        connection_nid,
        ordinal,
    )
    if row is None:
        return None
    rows = await conn.fetch(
        """
        SELECT DISTINCT ON (room_nid) room_nid, told, have, wish, dm, stub, members, profiles
          FROM sync_connection_rooms
         WHERE connection_nid = $1 AND ordinal <= $2
         ORDER BY room_nid, ordinal DESC
        """,
        connection_nid,
        ordinal,
    )
    rooms = {
        one[0]: SentRoom(one[1], one[2], one[3], one[4], one[5], frozenset(one[6]), one[7]) for one in rows
    }
    return Stored(connection_nid, rooms, row["subscriptions"])


async def offer(
    conn: Connection, connection_nid: int, base: int, told: Mapping[int, SentRoom], settled: Iterable[int]
) -> int | None:
    """What the next answer tells, to who has come to `base`; gives its ordinal. None: the connection is gone.

    What was offered after `base` never arrived. `settled` rooms need no rows from before `base` any more.
    """
    ordinal: int | None = await conn.fetchval(
        """
        WITH c AS (
            UPDATE sync_connections SET ordinal = ordinal + 1 WHERE connection_nid = $1 RETURNING ordinal
        ), lost AS (
            DELETE FROM sync_connection_rooms WHERE connection_nid = $1 AND ordinal > $2
        ), old AS (
            DELETE FROM sync_connection_rooms
             WHERE connection_nid = $1 AND ordinal < $2 AND room_nid = ANY($3::int[])
        ), n AS (
            INSERT INTO sync_connection_rooms
                   (connection_nid, ordinal, room_nid, told, have, wish, dm, stub, members, profiles)
            SELECT $1, c.ordinal, n.room_nid, n.told, n.have, n.wish, n.dm, n.stub, n.members::int[], n.profiles
              FROM c, unnest($4::int[], $5::bigint[], $6::int[], $7::bigint[], $8::boolean[], $9::boolean[],
                             $10::text[], $11::bigint[])
                      AS n(room_nid, told, have, wish, dm, stub, members, profiles)
        )
        SELECT ordinal FROM c
        """,
        connection_nid,
        base,
        list(settled),
        list(told),
        [room.told for room in told.values()],
        [room.have for room in told.values()],
        [room.wish for room in told.values()],
        [room.dm for room in told.values()],
        [room.stub for room in told.values()],
        ["{" + ",".join(map(str, sorted(room.members))) + "}" for room in told.values()],
        [room.profiles for room in told.values()],
    )
    return ordinal


async def touch(conn: Connection, connection_nid: int, now: int) -> None:
    """The connection is in use."""
    await conn.execute(
        "UPDATE sync_connections SET used_ts = $2 WHERE connection_nid = $1", connection_nid, now
    )


async def subscribe(conn: Connection, connection_nid: int, subscriptions: str) -> None:
    """Remember the subscriptions of a client that does not repeat them."""
    await conn.execute(
        "UPDATE sync_connections SET subscriptions = $2 WHERE connection_nid = $1",
        connection_nid,
        subscriptions,
    )
