"""Rooms by number and by id; the numbers that rooms and events get; the rows of room heads."""

from collections import OrderedDict
from collections.abc import Iterable

from attrs import define, field, frozen

from homeserver.core.room_versions import ROOM_VERSIONS, RoomVersion
from storage.database import Connection, Database

MAX_CACHED_ROOMS = 100_000


@frozen
class Room:
    """A room whose version we know: what never changes of it."""

    nid: int
    room_id: str
    version: RoomVersion


@frozen
class HeadRow:
    """A row of `room_heads`, with the ids of the extremities."""

    version: int
    extremities: tuple[tuple[int, str], ...]  # (event_nid, event_id), oldest first
    depth: int
    sp: int
    chains: int
    joined: int
    invited: int
    position: int


@define(eq=False)
class RoomRegistry:
    """A bounded cache of rooms; rooms never change, so it needs no invalidation."""

    _by_id: OrderedDict[str, Room] = field(factory=OrderedDict)
    _by_nid: dict[int, Room] = field(factory=dict)

    def add(self, room: Room) -> None:
        """Remember a room that is (or is just being) stored."""
        self._by_id[room.room_id] = room
        self._by_nid[room.nid] = room
        while len(self._by_id) > MAX_CACHED_ROOMS:
            _, oldest = self._by_id.popitem(last=False)
            self._by_nid.pop(oldest.nid, None)

    def known(self, room_id: str) -> Room | None:
        """From memory only."""
        return self._by_id.get(room_id)

    async def find(self, conn: Connection, room_id: str) -> Room | None:
        """The room of that id, if we know it and its version."""
        room = self._by_id.get(room_id)
        if room is None:
            row = await conn.fetchrow("SELECT room_nid, version FROM rooms WHERE room_id = $1", room_id)
            if row is None or row["version"] not in ROOM_VERSIONS:
                return None
            room = Room(row["room_nid"], room_id, ROOM_VERSIONS[row["version"]])
            self.add(room)
        return room

    async def by_ids(self, conn: Connection, room_ids: Iterable[str]) -> list[Room]:
        """Those of the rooms that we know, with their versions."""
        wanted = set(room_ids)
        found = {room_id: self._by_id[room_id] for room_id in wanted if room_id in self._by_id}
        unknown = list(wanted - found.keys())
        if unknown:
            rows = await conn.fetch(
                "SELECT room_nid, room_id, version FROM rooms WHERE room_id = ANY($1::text[])", unknown
            )
            for row in rows:
                if row["version"] in ROOM_VERSIONS:
                    room = Room(row["room_nid"], row["room_id"], ROOM_VERSIONS[row["version"]])
                    found[row["room_id"]] = room
                    self.add(room)
        return list(found.values())

    async def by_nids(self, conn: Connection, nids: Iterable[int]) -> dict[int, Room]:
        """The rooms of those numbers; such without a known version are left out."""
        wanted = set(nids)
        found = {nid: self._by_nid[nid] for nid in wanted if nid in self._by_nid}
        unknown = list(wanted - found.keys())
        if unknown:
            rows = await conn.fetch(
                "SELECT room_nid, room_id, version FROM rooms WHERE room_nid = ANY($1::int[])", unknown
            )
            for row in rows:
                if row["version"] in ROOM_VERSIONS:
                    room = Room(row["room_nid"], row["room_id"], ROOM_VERSIONS[row["version"]])
                    found[row["room_nid"]] = room
                    self.add(room)
        return found


@define(eq=False)
class Numbers:
    """Blocks of room and event numbers, so that nearly no number costs a round trip.

    Numbers of a block that a process leaves unused are lost; they are plentiful.
    """

    database: Database
    _events: list[int] = field(factory=lambda: [0, 0])  # next, end
    _rooms: list[int] = field(factory=lambda: [0, 0])

    async def events(self, count: int) -> range:
        """`count` (at most 1000) consecutive new event numbers."""
        return await self._take(self._events, count, "event_nids", 1000)

    async def many_events(self, count: int) -> list[int]:
        """Any number of new event numbers, in rising order, in blocks that nobody else has numbers of."""
        if count <= 100:
            return list(await self.events(count)) if count else []
        async with self.database.writer() as conn:
            rows = await conn.fetch(
                "SELECT nextval('event_nids') FROM generate_series(1, $1)", -(-count // 1000)
            )
        return [nid for row in rows for nid in range(row[0], row[0] + 1000)][:count]

    async def room(self) -> int:
        """A new room number."""
        return (await self._take(self._rooms, 1, "room_nids", 20)).start

    async def _take(self, block: list[int], count: int, sequence: str, size: int) -> range:
        while block[1] - block[0] < count:
            async with self.database.writer() as conn:
                start: int = await conn.fetchval(f"SELECT nextval('{sequence}')")
            if block[1] - block[0] < count:  # nobody else fetched a block meanwhile
                block[:] = [start, start + size]
        first = block[0]
        block[0] += count
        return range(first, first + count)


async def insert_rooms(conn: Connection, rooms: list[tuple[Room, int]]) -> None:
    """New rooms (and when they were made) with empty heads, version 0; the same transaction fills these."""
    await conn.execute(
        """
        WITH n AS (SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::bigint[])
                             AS n(room_nid, room_id, version, created_ts)),
        r AS (INSERT INTO rooms (room_nid, room_id, version, created_ts)
              SELECT room_nid, room_id, version, created_ts FROM n)
        INSERT INTO room_heads (room_nid, version, extremities, depth, sp, chains, joined, invited, position)
        SELECT room_nid, 0, '{}', 0, 0, 0, 0, 0, 0 FROM n
        """,
        [room.nid for room, _ in rooms],
        [room.room_id for room, _ in rooms],
        [room.version.name for room, _ in rooms],
        [created_ts for _, created_ts in rooms],
    )


async def head_row(conn: Connection, room_nid: int) -> HeadRow | None:
    """Where the room stands; nothing if we have never been in it."""
    row = await conn.fetchrow(
        """
        SELECT h.version, h.depth, h.sp, h.chains, h.joined, h.invited, h.position,
               (SELECT array_agg(e.event_nid ORDER BY e.event_nid) FROM events e
                 WHERE e.event_nid = ANY (h.extremities)) AS nids,
               (SELECT array_agg(e.event_id ORDER BY e.event_nid) FROM events e
                 WHERE e.event_nid = ANY (h.extremities)) AS ids
          FROM room_heads h
         WHERE h.room_nid = $1
        """,
        room_nid,
    )
    if row is None or not row["nids"]:
        return None
    return HeadRow(
        version=row["version"],
        extremities=tuple(zip(row["nids"], row["ids"], strict=True)),
        depth=row["depth"],
        sp=row["sp"],
        chains=row["chains"],
        joined=row["joined"],
        invited=row["invited"],
        position=row["position"],
    )


async def joined_counts(conn: Connection, room_nids: Iterable[int]) -> dict[int, int]:
    """How many members each of the rooms has; rooms we have never been in are left out."""
    rows = await conn.fetch(
        "SELECT room_nid, joined FROM room_heads WHERE room_nid = ANY($1::int[])", list(room_nids)
    )
    return {row[0]: row[1] for row in rows}
