"""The warm head of each active room: what the next event is built on, without asking the database.

A head moves on as soon as an event is built; the event may still be being written. So the next sender need not
wait, and the commit checks that nobody else moved the stored head (`room_heads.version`). When a commit fails, every
head that stood on it is thrown away with `drop` and read again. `version` is the number of the room's newest event,
so it is never the same for two different pasts.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

from attrs import define, evolve, field

from homeserver.core.event import Event, StateKey
from homeserver.core.hashing import reference_hash, unpadded
from homeserver.core.membership import JOIN
from homeserver.services.audiences import Audience
from storage.auth_chains import chain_tips
from storage.committer import HeadMoved
from storage.database import Connection, Database
from storage.events import COLUMNS, EventReader, StoredEvent
from storage.rooms import HeadRow, Room, head_row

DEFAULT_HEADS = 1_000  # some 25 kB each, with the state that a new room's events need
MAX_STATE_ENTRIES = 2_000  # of one head; members beyond it are read again when they are needed


@define(eq=False)
class Head:
    """Where a room stands, as this process sees it, with the state entries that were needed so far.

    `state` holds None for a key that is known to be unset. `unwritten` has the keys whose newest event is still being
    written: of those the database knows less than we do. `hashes` has the reference hashes of the extremities in rooms
    whose links carry them (until v2), `tips` the last numbers of the chains that were continued. Hold `lock` while
    building on the head. `ours` is a member of ours who joined lately.
    """

    room: Room
    version: int = 0
    extremities: tuple[tuple[int, str], ...] = ()
    depth: int = 0
    sp: int = 0
    chains: int = 0
    joined: int = 0
    invited: int = 0
    state: dict[StateKey, StoredEvent | None] = field(factory=dict)
    unwritten: dict[StateKey, int] = field(factory=dict)
    hashes: dict[str, str] = field(factory=dict)
    tips: dict[int, int] = field(factory=dict)
    lock: asyncio.Lock = field(factory=asyncio.Lock)
    audience: Audience | None = None  # once push rules have been evaluated
    last_write: "asyncio.Future[list[StoredEvent]] | None" = None
    alive: bool = True
    forgotten: int = 0  # how often members were forgotten
    ours: StateKey | None = None

    async def settled(self) -> None:
        """Wait until all that was built on the head is written. Raises HeadMoved when something was not."""
        write = self.last_write  # others may put theirs in its place while this one waits
        if write is None:
            return
        await asyncio.wait([write])
        if write.cancelled() or write.exception() is not None:
            raise HeadMoved("what the head stood on was not written")

    def event(self, key: StateKey) -> Event | None:
        """The event that sets `key` now; the key must have been loaded (see `RoomHeads.ensure`)."""
        entry = self.state[key]
        return None if entry is None else entry.event

    def events(self, keys: Iterable[StateKey]) -> dict[StateKey, Event]:
        """Those of the loaded `keys` that are set."""
        return {key: entry.event for key in keys if (entry := self.state[key]) is not None}

    @property
    def is_followed(self) -> bool:
        """Is one of ours surely in the room? False says nothing."""
        entry = self.state.get(self.ours) if self.ours is not None else None
        return entry is not None and entry.event.membership == JOIN

    def redact(self, targets: Iterable[StoredEvent]) -> None:
        """Hold those of the events, which are in their redacted form, like that from now on."""
        for target in targets:
            key = target.event.key if target.event.is_state else None
            held = self.state.get(key) if key is not None else None
            if key is not None and held is not None and held.nid == target.nid:
                self.state[key] = evolve(held, event=target.event)


@define(eq=False)
class RoomHeads:
    """The heads in memory, least recently used ones forgotten first."""

    database: Database
    reader: EventReader
    max_heads: int = DEFAULT_HEADS
    _heads: OrderedDict[int, Head] = field(factory=OrderedDict)

    async def get(self, room: Room) -> Head | None:
        """The room's head; None where no event of the room has been stored."""
        head = self._heads.get(room.nid)
        if head is not None:
            self._heads.move_to_end(room.nid)
            return head
        async with self.database.read() as conn:
            row = await head_row(conn, room.nid)
            hashes = await self._hashes(conn, room, row) if row is not None else {}
        if row is None:
            return self._heads.get(room.nid)
        if room.nid not in self._heads:  # nobody was faster
            self.put(
                Head(
                    room,
                    version=row.version,
                    extremities=row.extremities,
                    depth=row.depth,
                    sp=row.sp,
                    chains=row.chains,
                    joined=row.joined,
                    invited=row.invited,
                    hashes=hashes,
                )
            )
        return self._heads[room.nid]

    def is_followed(self, room_id: str) -> bool:
        """Does a head in memory know that one of ours is in the room? False says nothing."""
        room = self.reader.rooms.known(room_id)
        head = self._heads.get(room.nid) if room is not None else None
        return head is not None and head.is_followed

    def put(self, head: Head) -> None:
        """Keep the head of a room that was just made or read."""
        self._heads[head.room.nid] = head
        while len(self._heads) > self.max_heads:
            _, oldest = self._heads.popitem(last=False)
            oldest.alive = False

    def drop(self, head: Head) -> None:
        """What the head stood on was not written: build nothing on it any more."""
        head.alive = False
        if self._heads.get(head.room.nid) is head:
            del self._heads[head.room.nid]

    async def ensure(self, head: Head, keys: Iterable[StateKey]) -> None:
        """Load those of `keys` that the head does not hold yet, in one query."""
        missing = [key for key in keys if key not in head.state]
        if not missing:
            return
        while True:
            forgotten = head.forgotten
            async with self.database.read() as conn:
                found = await self._current(conn, head.room, missing)
            if forgotten == head.forgotten:  # else a key may have been set and forgotten since it was read
                break
        for key in missing:
            # An event built meanwhile may have set the key: what is there now is newer than what was read.
            head.state.setdefault(key, found.get(key))

    async def ensure_tips(self, head: Head, chains: Iterable[int]) -> None:
        """Load where those of `chains` end of which the head does not know it."""
        missing = [chain for chain in chains if chain not in head.tips]
        if missing:
            async with self.database.read() as conn:
                found = await chain_tips(conn, head.room.nid, missing)
            head.tips = found | head.tips

    def trim(self, head: Head) -> None:
        """Forget what can be read again if it is much. Hold `head.lock`: a step relies on what it has loaded."""
        if len(head.state) > MAX_STATE_ENTRIES:
            _forget_members(head)
        if len(head.tips) > MAX_STATE_ENTRIES and not head.unwritten:
            head.tips = {}

    async def _current(
        self, conn: Connection, room: Room, keys: list[StateKey]
    ) -> dict[StateKey, StoredEvent]:
        # The sub-selects hide how many keys there are: else PostgreSQL plans each time, for more than reading takes.
        # With `OFFSET 0` each key is looked up by itself.
        columns = ", ".join(f"e.{column.strip()}" for column in COLUMNS.split(","))
        rows = await conn.fetch(
            f"""
            SELECT {columns}
              FROM unnest((SELECT $2::text[]), (SELECT $3::text[])) AS n(type, state_key)
             CROSS JOIN LATERAL (SELECT key_nid FROM state_keys
                                  WHERE type = n.type AND state_key = n.state_key OFFSET 0) AS k
             CROSS JOIN LATERAL (SELECT event_nid FROM current_state
                                  WHERE room_nid = $1 AND key_nid = k.key_nid OFFSET 0) AS c
              JOIN events e ON e.event_nid = c.event_nid
            """,  # noqa: S608 (our own column names)
            room.nid,
            [key[0] for key in keys],
            [key[1] for key in keys],
        )
        return {stored.event.key: stored for stored in await self.reader.read(conn, rows)}

    async def _hashes(self, conn: Connection, room: Room, row: HeadRow) -> dict[str, str]:
        if not room.version.event_id_in_pdu:
            return {}
        events = await self.reader.by_nids(conn, [nid for nid, _ in row.extremities])
        return {stored.event.event_id: link_hash(stored.event) for stored in events.values()}

    @property
    def count(self) -> int:
        """How many heads are held."""
        return len(self._heads)


def link_hash(event: Event) -> str:
    """What a link to the event carries beside its id [rooms/v1 "Event format"]."""
    return unpadded(reference_hash(event.pdu, event.version))


def _forget_members(head: Head) -> None:
    """Make room: members can be read again, one by one."""
    head.forgotten += 1
    for key in list(head.state):
        if key[0] == "m.room.member" and key not in head.unwritten:
            del head.state[key]
