"""The writer: the only code that adds events to rooms.

A step of a room is built on its warm head under the head's lock, without a query where the head knows what the rules
need. The step is queued with the committer and the head moves on at once; the caller gets its answer after the commit.
A step whose head turns out to have moved (another process) is built again on what is there now.
"""

import asyncio
from collections.abc import Callable, Sequence

from attrs import define, evolve, field, frozen

from homeserver.core.errors import MatrixError, forbidden, not_found
from homeserver.core.event import Event, StateKey
from homeserver.core.event_build import Draft
from homeserver.core.room_versions import RoomVersion
from homeserver.services.growth import Growth, Numbered, Once, needed_keys, stripped_of, stripped_text
from homeserver.services.identity import Identity
from homeserver.services.placement import continued_chain
from homeserver.services.policing import Policing
from homeserver.services.push_evaluation import PushEvaluation, Step
from homeserver.services.redactions import Redactions
from homeserver.services.room_heads import Head, RoomHeads
from storage.committer import Committer, HeadMoved, Touched
from storage.database import Database, UniqueViolation
from storage.events import EventReader, StoredEvent
from storage.room_batches import Listing, NoticeRow, RoomBatch
from storage.rooms import Numbers, Room
from storage.state_keys import StateKeys

BUILT_AT_ONCE = 32  # events of a new room, before others get their turn
ATTEMPTS = 10  # each lost race means that another process wrote into the room

# Called under the head's lock with what the room is now; gives the drafts, or refuses by raising.
Decide = Callable[[Head], Sequence[Draft]]


@frozen
class Writing:
    """What stores events, and numbers them."""

    database: Database
    reader: EventReader
    committer: Committer
    numbers: Numbers
    state_keys: StateKeys


@define(eq=False)
class Timeline:
    """Adds events to rooms."""

    writing: Writing
    heads: RoomHeads
    identity: Identity
    policing: Policing | None = None
    push: PushEvaluation | None = None
    _running: dict[tuple[int, Once], "asyncio.Future[StoredEvent]"] = field(factory=dict)

    async def head(self, room_id: str | None) -> Head:
        """The head of a room we know. Raises M_NOT_FOUND."""
        assert room_id is not None
        room = self.heads.reader.rooms.known(room_id)
        if room is None:
            async with self.writing.database.read() as conn:
                room = await self.heads.reader.rooms.find(conn, room_id)
        head = await self.heads.get(room) if room is not None else None
        if head is None:
            raise not_found("Unknown room")
        return head

    async def send(
        self,
        draft: Draft,
        *,
        once: Once | None = None,
        keys: Sequence[StateKey] = (),
        allow: Callable[[Head], None] | None = None,
    ) -> StoredEvent:
        """Add one event; with `once`, a repetition gives the event that the first request made.

        `allow` sees the head with the state of `keys`, and refuses by raising.
        """
        head = await self.head(draft.room_id)

        def decide(head: Head) -> list[Draft]:
            if allow is not None:
                allow(head)
            return [draft]

        if once is None:
            return (await self.change(head.room.room_id, keys, decide))[0]
        key = (head.room.nid, once)
        running = self._running.get(key)
        if running is not None:
            return await asyncio.shield(running)
        task = asyncio.ensure_future(self._send_once(head.room, keys, decide, once))
        self._running[key] = task
        task.add_done_callback(lambda _: self._running.pop(key, None))
        return await asyncio.shield(task)

    async def change(
        self, room_id: str, keys: Sequence[StateKey], decide: Decide, *, once: Once | None = None
    ) -> list[StoredEvent]:
        """Add the events that `decide` wants, all or none, seeing the state of `keys` that they will stand on."""
        for attempt in range(1, ATTEMPTS + 1):
            head = await self.head(room_id)
            await self._warm(head, keys)
            try:
                done = await self._step(head, keys, decide, once)
                return await asyncio.shield(done)
            except HeadMoved:
                self.heads.drop(head)
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    async def create(
        self, version: RoomVersion, drafts: Sequence[Draft], *, listing: Listing | None = None
    ) -> tuple[Room, list[StoredEvent]]:
        """A new room that begins with `drafts`, the create event first; a room id that is a hash is set here."""
        nid = await self.writing.numbers.room()
        head = Head(Room(nid, drafts[0].room_id or "", version))
        growth = Growth(head, self.identity, new_room=True)
        numbered = await self._numbered(head, drafts, None)
        for index, one in enumerate(numbered, start=1):
            for key in needed_keys(one.draft, head, self.identity):
                head.state.setdefault(key, None)
            growth.add(one)
            if index % BUILT_AT_ONCE == 0:
                await asyncio.sleep(0)
        self.heads.put(head)
        batch = evolve(growth.batch(await self.notices(head, growth.step)), listing=listing)
        events = await asyncio.shield(self.write(head, batch, growth.apply))
        self.heads.reader.rooms.add(head.room)
        return head.room, events

    async def stored_once(self, once: Once, room: Room) -> StoredEvent | None:
        """What an earlier request with this transaction id made."""
        async with self.writing.database.read() as conn:
            return await self.writing.reader.by_transaction(conn, once.device_nid, once.txn_id, room.nid)

    async def _send_once(
        self, room: Room, keys: Sequence[StateKey], decide: Decide, once: Once
    ) -> StoredEvent:
        return (await self.change_once(room, keys, decide, once))[0]

    async def change_once(
        self, room: Room, keys: Sequence[StateKey], decide: Decide, once: Once
    ) -> list[StoredEvent]:
        """As `change` for one event at most; a repetition gives the event that the first request made."""
        try:
            return await self.change(room.room_id, keys, decide, once=once)
        except (UniqueViolation, MatrixError):
            # Only now is the earlier event looked for: first requests, nearly all, are spared the query.
            stored = await self.stored_once(once, room)
            if stored is None:
                raise
            return [stored]

    async def _warm(self, head: Head, keys: Sequence[StateKey]) -> None:
        """Load before the lock is taken what the step will surely read, so that many steps read side by side.

        Nothing hangs on it: under the lock, what has been forgotten meanwhile is loaded again.
        """
        if any(key not in head.state for key in keys):
            await self.heads.ensure(head, keys)
        await self.key_nids([key for key in keys if key[0] == "m.room.member"])

    async def _step(
        self, head: Head, keys: Sequence[StateKey], decide: Decide, once: Once | None
    ) -> "asyncio.Future[list[StoredEvent]]":
        async with head.lock:
            if not head.alive:
                raise HeadMoved("the head was dropped while waiting for it")
            self.heads.trim(head)
            await self.heads.ensure(head, keys)
            drafts = decide(head)
            if not drafts:
                return asyncio.ensure_future(_settled(head))
            for draft in drafts:
                await self.heads.ensure(head, needed_keys(draft, head, self.identity))
            await self.heads.ensure_tips(head, _continued_chains(head, drafts))
            numbered = await self._numbered(head, drafts, once)
            growth = Growth(head, self.identity)
            for one in numbered:
                growth.add(one)
            if self.policing is not None:
                for event in growth.events:
                    growth.sign(await self.policing.countersigned(head, event))
            return self.write(head, growth.batch(await self.notices(head, growth.step)), growth.apply)

    async def notices(self, head: Head, step: Step) -> tuple[NoticeRow, ...]:
        """Whom a step notifies that is about to be written."""
        return () if self.push is None else await self.push.notices(head, step)

    def write(
        self, head: Head, batch: RoomBatch, apply: Callable[[], None]
    ) -> "asyncio.Future[list[StoredEvent]]":
        """Hand a step to the committer and move the head on by `apply`: no await in between.

        The future gives the step's timeline events with their positions, once they are durable.
        """
        users = tuple(change.user_nid for change in batch.memberships)
        written = self.writing.committer.append(batch, Touched(users=users, rooms=(head.room.nid,)))
        apply()
        head.last_write = asyncio.ensure_future(self._finish(head, batch.note.events, written))
        return head.last_write

    def stripped_text(self, head: Head, member: Event) -> str:
        """The stripped state that goes with an invite or a knock, of loaded state."""
        return stripped_text(member, list(head.events(stripped_of(member)).values()))

    async def _finish(
        self, head: Head, events: Sequence[StoredEvent], written: "asyncio.Future[int]"
    ) -> list[StoredEvent]:
        try:
            before = await written
        except BaseException:
            self.heads.drop(head)
            raise
        stored = [event.at(before + index) for index, event in enumerate(events, start=1)]
        for event in stored:
            if event.event.is_state and head.unwritten.get(event.event.key) == event.nid:
                del head.unwritten[event.event.key]
        return stored

    async def _numbered(self, head: Head, drafts: Sequence[Draft], once: Once | None) -> list[Numbered]:
        nids = await self.writing.numbers.events(len(drafts))
        keys: list[StateKey] = [("m.room.member", draft.sender) for draft in drafts]
        keys += [(draft.type, draft.state_key) for draft in drafts if draft.state_key is not None]
        key_nids = await self.key_nids(keys)
        targets = [await self._redactable(head, draft) for draft in drafts]
        return [
            Numbered(
                draft=draft,
                nid=nid,
                sender_nid=key_nids["m.room.member", draft.sender],
                key_nid=None if draft.state_key is None else key_nids[draft.type, draft.state_key],
                once=once,
                redacts=target,
            )
            for draft, nid, target in zip(drafts, nids, targets, strict=True)
        ]

    async def key_nids(self, keys: Sequence[StateKey]) -> dict[StateKey, int]:
        """The numbers of state keys, from memory where all are known."""
        known = {key: nid for key in keys if (nid := self.writing.state_keys.known(key)) is not None}
        if len(known) == len(set(keys)):
            return known
        return await self.writing.state_keys.intern(keys)

    async def _redactable(self, head: Head, draft: Draft) -> StoredEvent | None:
        """What the draft redacts, in redacted form, if it may [rooms/v3 "Handling redactions"]."""
        target_id = redacted_id(draft)
        if target_id is None:
            return None
        async with self.writing.database.read() as conn:
            target = await Redactions(self.heads).target(conn, head, draft.sender, target_id)
        if target is not None and target.event.is_state:
            # Once the redaction is queued, what the database still has of the target is out of date.
            await self.heads.ensure(head, [target.event.key])
        return target


async def _settled(head: Head) -> list[StoredEvent]:
    """Nothing is to be added: but what was decided upon counts only once it is written."""
    await head.settled()
    return []


def _continued_chains(head: Head, drafts: Sequence[Draft]) -> list[int]:
    keys = [(draft.type, draft.state_key) for draft in drafts if draft.state_key is not None]
    chains = [continued_chain(key, head.state.get(key)) for key in keys]
    return [chain for chain in chains if chain is not None]


def redacted_id(draft: Draft) -> str | None:
    """The event that a draft of a redaction names."""
    if draft.type != "m.room.redaction":
        return None
    target = draft.content.get("redacts")
    return target if isinstance(target, str) else None


def refuse_unless(allowed: bool, message: str) -> None:
    """M_FORBIDDEN with `message` unless `allowed`: for what `decide` functions check."""
    if not allowed:
        raise forbidden(message)
