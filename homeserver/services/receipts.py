"""How far users have read: public and private receipts, by thread, and the marker of what was read fully.

Receipts only move forward. [cs "Receipts", "Fully read markers"]
"""

from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from homeserver.core.errors import forbidden, invalid_param
from homeserver.core.relations import THREAD, relation_of
from homeserver.services.now import now_ms
from storage import account_data, receipts
from storage.committer import Committer, Kind, Touched
from storage.database import Connection, Database
from storage.events import EventReader, StoredEvent
from storage.memberships import JOIN, local_membership
from storage.receipts import PRIVATE, Receipt
from storage.rooms import Room

READ, FULLY_READ = "m.read", "m.fully_read"
KINDS = (READ, PRIVATE, FULLY_READ)
MAIN = "main"
MAX_HOPS = 3  # from an event to the root of its thread: a reaction to an edit of a message


@frozen
class Mark:
    """What a user says to have read. `thread_id` is empty for an unthreaded receipt."""

    kind: str
    event_id: str
    thread_id: str = ""


@frozen
class Read:
    """What another server says that one of its users has read, and when."""

    user_nid: int
    mark: Mark
    ts: int


@frozen
class Receipts:
    """Keeps receipts of everybody, and the markers of our users."""

    database: Database
    reader: EventReader
    committer: Committer

    async def put(self, user_nid: int, room_id: str, marks: list[Mark]) -> None:
        """Move the user's marks. Raises M_FORBIDDEN, and M_INVALID_PARAM for a thread that does not fit."""
        for mark in marks:
            if mark.thread_id and mark.kind == FULLY_READ:
                raise invalid_param("m.fully_read has no thread_id")
        async with self.database.read() as conn:
            room = await self._room(conn, user_nid, room_id)
            events = await self.reader.by_ids(conn, {mark.event_id for mark in marks})
            events = {name: event for name, event in events.items() if event.room.nid == room.nid}
            for mark in marks:
                await self._check_thread(conn, mark, events.get(mark.event_id))
            read = [mark for mark in marks if mark.kind != FULLY_READ]
            moved = [
                self._receipt(room, user_nid, mark, event)
                for mark in read
                if await self._is_ahead(conn, room, user_nid, mark, event := events.get(mark.event_id))
            ]
        if moved:
            await self._store(moved, room, user_nid)
        fully = [mark.event_id for mark in marks if mark.kind == FULLY_READ]
        if fully:
            await self._mark(room, user_nid, fully[-1])

    async def take(self, told: Sequence[tuple[Room, Sequence[Read]]]) -> None:
        """Receipts of other servers' users, each in the room and told of once; those that go back are left out."""
        moved: list[Receipt] = []
        async with self.database.read() as conn:
            for room, reads in told:
                moved += await self._moved(conn, room, reads)
        if moved:
            rooms = tuple({receipt.room_nid for receipt in moved})
            await self._put(moved, Touched(rooms=rooms, kind=Kind.RECEIPTS))

    async def _moved(self, conn: Connection, room: Room, reads: Sequence[Read]) -> list[Receipt]:
        known = await receipts.of_users(conn, room.nid, [read.user_nid for read in reads], READ)
        events = await self.reader.by_ids(conn, {read.mark.event_id for read in reads})
        before = await self.reader.by_nids(
            conn, [one.event_nid for one in known.values() if one.event_nid is not None]
        )
        moved = []
        for read in reads:
            event = events.get(read.mark.event_id)
            if event is not None and event.room.nid != room.nid:
                continue
            last = known.get((read.user_nid, read.mark.thread_id))
            stands_at = None if last is None or last.event_nid is None else before.get(last.event_nid)
            if last is None or (last.event_id != read.mark.event_id and _follows(event, stands_at)):
                moved.append(evolve(self._receipt(room, read.user_nid, read.mark, event), ts=read.ts))
        return moved

    async def _room(self, conn: Connection, user_nid: int, room_id: str) -> Room:
        room = await self.reader.rooms.find(conn, room_id)
        local = await local_membership(conn, user_nid, room.nid) if room is not None else None
        if room is None or local is None or local.membership != JOIN:
            raise forbidden("You are not in this room")
        return room

    async def _check_thread(self, conn: Connection, mark: Mark, event: StoredEvent | None) -> None:
        """The event must be in the thread that the receipt is for [cs "Threaded read receipts"]."""
        if not mark.thread_id or event is None:
            return
        root = await self._thread_of(conn, event)
        if root != mark.thread_id and not (mark.thread_id == event.event.event_id):
            raise invalid_param("The event is not in this thread")

    async def _thread_of(self, conn: Connection, event: StoredEvent) -> str:
        for _ in range(MAX_HOPS):
            relation = relation_of(event.event.content)
            if relation is None:
                return MAIN
            if relation.rel_type == THREAD:
                return relation.parent_id
            parent = await self.reader.by_id(conn, relation.parent_id)
            if parent is None:
                return MAIN
            event = parent
        return MAIN

    async def _is_ahead(
        self, conn: Connection, room: Room, user_nid: int, mark: Mark, event: StoredEvent | None
    ) -> bool:
        """Would the receipt move forward? Where events are unknown, the newer word counts."""
        before = await receipts.one(conn, room.nid, user_nid, mark.kind, mark.thread_id)
        if before is None:
            return True
        if before.event_id == mark.event_id:
            return False
        if event is None or before.event_nid is None:
            return True
        return _follows(event, (await self.reader.by_nids(conn, [before.event_nid])).get(before.event_nid))

    def _receipt(self, room: Room, user_nid: int, mark: Mark, event: StoredEvent | None) -> Receipt:
        return Receipt(
            room.nid,
            user_nid,
            mark.kind,
            mark.thread_id,
            mark.event_id,
            None if event is None else event.nid,
            now_ms(),
        )

    async def _store(self, moved: list[Receipt], room: Room, user_nid: int) -> None:
        private = all(receipt.kind == PRIVATE for receipt in moved)
        touched = (
            Touched(users=(user_nid,), kind=Kind.RECEIPTS)
            if private
            else Touched(rooms=(room.nid,), kind=Kind.RECEIPTS)
        )
        await self._put(moved, touched)

    async def _put(self, moved: list[Receipt], touched: Touched) -> None:
        async def job(conn: Connection, position: int) -> None:
            await receipts.put(conn, position, moved)

        await self.committer.run(job, touched)

    async def _mark(self, room: Room, user_nid: int, event_id: str) -> None:
        entry = account_data.AccountData(room.nid, FULLY_READ, {"event_id": event_id})

        async def job(conn: Connection, position: int) -> None:
            await account_data.set_account_data(conn, position, user_nid, entry)

        await self.committer.run(job, Touched(users=(user_nid,), kind=Kind.ACCOUNT_DATA))


def _follows(event: StoredEvent | None, before: StoredEvent | None) -> bool:
    """Is an event later than another? Where either has no place in the timeline: yes."""
    if event is None or event.position is None or before is None or before.position is None:
        return True
    return event.position > before.position


def marks_of(body: Mapping[str, object]) -> list[Mark]:
    """What a body of /read_markers says. Raises M_INVALID_PARAM."""
    found = []
    for kind in KINDS:
        event_id = body.get(kind)
        if event_id is None:
            continue
        if not isinstance(event_id, str) or not event_id or "\x00" in event_id:
            raise invalid_param(f"{kind} must be an event id")
        found.append(Mark(kind, event_id))
    return found
