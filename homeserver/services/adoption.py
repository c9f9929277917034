"""A room of other servers becomes one of ours: the state and auth chain that came with our user's join.

What was learned comes in as values; here it is judged (each event by its auth events, the join by the state that was
told) and written. Everything that nobody sees yet (outliers, the state, a head without extremities) is written first,
beside the committer, in one transaction and in pieces that keep the loop free; then the join is one ordinary batch. A
crash in between leaves a room that is not known to anybody, and the next attempt begins it again.

A room that we were in before keeps its timeline; its current state becomes what was told, and the gap is marked.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import structlog
from attrs import define, field, frozen

from homeserver.core.auth.rejection import Rejected as NotAllowed
from homeserver.core.auth.rules import check_auth, check_auth_events
from homeserver.core.auth.state import CREATE, AuthState
from homeserver.core.event import Event, StateKey
from homeserver.core.room_versions import RoomVersion
from homeserver.services.arrivals import Arrivals
from homeserver.services.event_rows import event_row
from homeserver.services.intake import membership_of
from homeserver.services.judging import Arrival, as_first_told, is_unjudged, judging
from homeserver.services.room_heads import Head
from homeserver.services.timeline import ATTEMPTS, Timeline
from homeserver.services.told_rooms import Judgements, judge_told, place_told
from storage import adoption as tables
from storage import auth_chains, room_state
from storage.committer import HeadMoved
from storage.database import Connection, UniqueViolation
from storage.events import StoredEvent
from storage.room_batches import OUTLIER, REJECTED, EventRow
from storage.rooms import HeadRow, Room

log = structlog.get_logger(__name__)

KEYS_AT_ONCE = 1_000


class NotAdopted(Exception):
    """What was told of the room does not hold, or does not let the join happen."""


@frozen
class Told:
    """What another server says of a room: our join, the state before it, and the events which authorize all that."""

    join: Arrival
    state: Sequence[Arrival] = field(repr=False)
    auth_chain: Sequence[Arrival] = field(repr=False)


@define(eq=False)
class _Learned:
    """The told events as they will be stored."""

    room: Room
    arrivals: Mapping[str, Arrival]
    judgements: Judgements
    stored: dict[str, StoredEvent]
    known: Mapping[str, StoredEvent]
    state: dict[int, StoredEvent]  # by key number, what was told and not rejected
    chains: int
    early: Mapping[str, StoredEvent]  # came with an invitation, and is judged only now

    @property
    def events(self) -> dict[StateKey, Event]:
        return {entry.event.key: entry.event for entry in self.state.values()}


@frozen
class Adoption:
    """Takes rooms over from what other servers tell of them."""

    timeline: Timeline
    arrivals: Arrivals

    async def adopt(self, version: RoomVersion, told: Told) -> Room:
        """Enter the room by the join. Raises NotAdopted."""
        room_id = told.join.event.room_id
        arrivals = {one.event.event_id: one for one in (*told.auth_chain, *told.state)}
        arrivals.pop(told.join.event.event_id, None)
        room = await self._room(version, told.join.event)
        if version.event_id_in_pdu:
            arrivals = await self._as_first_told(room, arrivals)
        events = [one.event for one in arrivals.values()]
        judgements, _ = await asyncio.gather(
            asyncio.to_thread(judge_told, events, room_id),
            self._key_nids(events),  # while they are judged, the database gives numbers
        )
        if judgements.rejected:
            first = next(iter(judgements.rejected.values()))
            log.info("events that came with a join were rejected", room=room_id,
                     events=len(judgements.rejected), first=first)  # fmt: skip
        for attempt in range(1, ATTEMPTS + 1):
            try:
                learned = await self._learned(room, arrivals, judgements, told)
                _check_join(told.join, learned, version)
                head = await self.timeline.heads.get(room)
                if head is None:
                    head = await self._founded(learned)
                else:
                    await self._kept(learned)
                await self._enter(head, learned, told.join)
                return room
            except (HeadMoved, UniqueViolation):  # another process entered the room, or keeps what we learned
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    # --- what was told, as it will be stored

    async def _room(self, version: RoomVersion, join: Event) -> Room:
        nid = await self.timeline.writing.numbers.room()
        async with self.timeline.writing.database.transaction() as conn:
            nid, name = await tables.claim_room(conn, Room(nid, join.room_id, version), join.origin_server_ts)
        if name != version.name:
            raise NotAdopted(f"the room is one of version {name}")
        room = Room(nid, join.room_id, version)
        self.timeline.heads.reader.rooms.add(room)
        return room

    async def _as_first_told(self, room: Room, arrivals: Mapping[str, Arrival]) -> dict[str, Arrival]:
        """Where senders choose ids, the first event of an id counts; one of another room is as if it was not told."""
        async with self.timeline.writing.database.read() as conn:
            known = await self.timeline.heads.reader.by_ids(conn, arrivals)
        foreign = {event_id for event_id, one in known.items() if one.room.nid != room.nid}
        return {i: as_first_told(one, known.get(i)) for i, one in arrivals.items() if i not in foreign}

    async def _learned(
        self, room: Room, arrivals: Mapping[str, Arrival], judgements: Judgements, told: Told
    ) -> _Learned:
        writing = self.timeline.writing
        async with writing.database.read() as conn:
            found = await self.timeline.heads.reader.by_ids(conn, arrivals)
            chains = await auth_chains.last_chain(conn, room.nid)
        early = {event_id: one for event_id, one in found.items() if is_unjudged(one)}
        known = {event_id: one for event_id, one in found.items() if event_id not in early}
        new = [event for event in judgements.ordered if event.event_id not in known]
        keys = await self._key_nids(judgements.ordered)
        nids = await writing.numbers.many_events(len(new))
        placements, chains = await asyncio.to_thread(place_told, judgements, known, chains)
        stored = {**known}
        for event, nid in zip(new, nids, strict=True):
            status = REJECTED if event.event_id in judgements.rejected else OUTLIER
            before, placement = early.get(event.event_id), placements.get(event.event_id)
            chain, seq = placement.place if placement is not None else (None, None)
            stored[event.event_id] = StoredEvent(
                nid=nid if before is None else before.nid, room=room, position=None, event=event, status=status,
                key_nid=keys[event.key] if event.is_state else None, chain=chain, chain_seq=seq,
                chain_links=tuple(placement.links) if placement is not None else (),
            )  # fmt: skip
        state = {}
        for one in told.state:
            entry = stored.get(one.event.event_id)
            if entry is not None and entry.status != REJECTED and entry.key_nid is not None:
                state[entry.key_nid] = entry
        return _Learned(room, arrivals, judgements, stored, known, state, chains, early)

    async def _key_nids(self, events: Sequence[Event]) -> dict[StateKey, int]:
        wanted = {event.key for event in events if event.is_state}
        wanted |= {("m.room.member", event.sender) for event in events}
        keys = sorted(wanted)
        found: dict[StateKey, int] = {}
        for start in range(0, len(keys), KEYS_AT_ONCE):
            found |= await self.timeline.writing.state_keys.intern(keys[start : start + KEYS_AT_ONCE])
        return found

    # --- writing

    async def _founded(self, learned: _Learned) -> Head:
        """A head with the told state and no extremities: nobody sees the room before the join is written."""
        room, counts = learned.room, _counts(learned.state.values())
        marker = (await self.timeline.writing.numbers.events(1)).start
        row = HeadRow(
            version=marker, extremities=(), depth=0, sp=len(learned.state), chains=learned.chains,
            joined=counts["join"], invited=counts["invite"], position=0,
        )  # fmt: skip
        async with self.timeline.writing.database.transaction() as conn:
            if not await tables.begin_head(conn, room.nid, row):
                raise HeadMoved("another process has entered the room meanwhile")
            await self._write_outliers(conn, learned)
            entries = [
                (key, sp, entry.nid, membership_of(entry))
                for sp, (key, entry) in enumerate(learned.state.items(), start=1)
            ]
            await tables.begin_state(conn, room.nid, entries)
        return Head(
            room, version=marker, sp=row.sp, chains=row.chains, joined=row.joined, invited=row.invited
        )

    async def _kept(self, learned: _Learned) -> None:
        async with self.timeline.writing.database.transaction() as conn:
            await self._write_outliers(conn, learned)

    async def _write_outliers(self, conn: Connection, learned: _Learned) -> None:
        rows = (
            self._row(learned, event)
            for event in learned.judgements.ordered
            if event.event_id not in learned.known
        )
        await tables.forget_outliers(conn, [one.nid for one in learned.early.values()])
        await tables.insert_outliers(conn, learned.room.nid, rows)

    def _row(self, learned: _Learned, event: Event) -> EventRow:
        stored = learned.stored[event.event_id]
        sender = self.timeline.writing.state_keys.known(("m.room.member", event.sender))
        assert sender is not None, "numbered above"
        return event_row(
            stored,
            sender,
            prev_nids=(),
            auth_nids=tuple(
                learned.stored[cited].nid for cited in event.auth_events if cited in learned.stored
            ),
            json=learned.arrivals[event.event_id].json,
            rejection=learned.judgements.rejected.get(event.event_id),
        )

    async def _enter(self, head: Head, learned: _Learned, join: Arrival) -> None:
        """The join, behind what the main line must become for it."""
        async with head.lock:
            if not head.alive:
                raise HeadMoved("the head was dropped while waiting for it")
            await head.settled()
            try:
                written = await self._entered(head, learned, join)
            except BaseException:
                self.timeline.heads.drop(head)
                raise
        await asyncio.shield(written)

    async def _entered(self, head: Head, learned: _Learned, join: Arrival) -> "asyncio.Future[None]":
        async with self.timeline.writing.database.leading_read() as conn:
            intake = await self.arrivals.taking.intake(conn, head, [join])
            intake.known = {**learned.stored, **intake.known}
            changes = await self._differing(conn, head, learned)
            auth = [intake.known[cited] for cited in join.event.auth_events if cited in intake.known]
            head.chains, head.tips = max(head.chains, learned.chains), {}
            await self.arrivals.taking.enter(conn, intake, join, changes, auth)
        self.timeline.heads.put(head)
        return await self.arrivals.taking.written(intake)

    async def _differing(
        self, conn: Connection, head: Head, learned: _Learned
    ) -> dict[StateKey, StoredEvent | None]:
        """What the main line must change to be what was told: nothing for a room that was just begun."""
        if not head.extremities:
            return {}
        room_nid = head.room.nid
        now = (await room_state.whole_current(conn, [room_nid], members=True)).get(room_nid, {})
        told = {key: entry.nid for key, entry in learned.state.items()}
        gone = [key for key in now if key not in told]
        names = await self.timeline.writing.state_keys.names(conn, gone)
        changed = {
            entry.event.key: entry for key, entry in learned.state.items() if now.get(key) != entry.nid
        }
        return {**changed, **{names[key]: None for key in gone}}


def _check_join(join: Arrival, learned: _Learned, version: RoomVersion) -> None:
    """The join must stand on the told state [ss "Joining Rooms"]."""
    create = learned.events.get(CREATE)
    if create is None:
        raise NotAdopted("the state has no create event")
    if create.content.get("room_version", "1") != version.name:
        raise NotAdopted("the create event is of another room version")
    events, event = learned.events, join.event
    absent = [cited for cited in event.auth_events if cited not in learned.stored]
    if absent:
        raise NotAdopted(f"the join cites {absent[0]}, which was not told")
    auth = [learned.stored[cited].event for cited in event.auth_events]
    try:
        state = check_auth_events(event, auth, rejected=learned.judgements.rejected, create=create)
        check_auth(event, state, authorizer_signed=join.authorizer_signed)
        told = AuthState({key: events[key] for key in judging(event) if key in events}, version)
        check_auth(event, told, authorizer_signed=join.authorizer_signed)
    except NotAllowed as refusal:
        raise NotAdopted(f"the state does not allow the join: {refusal}") from refusal


def _counts(entries: Iterable[StoredEvent]) -> Counter[str | None]:
    return Counter(entry.event.membership for entry in entries if entry.event.type == "m.room.member")
