"""Events of other servers enter a room: checked against its states, then written like our own.

The caller (federation) has checked format, signatures and hash, and has fetched what the event points at. From here on
it is the numbered checks 4 to 6 on receipt of a PDU, the state before the event (resolved where its previous events
disagree), and one batch: the event, the room's new extremities, and what changes of the current state. The verdict is
a value. An event whose previous or auth events are unknown is not judged: the answer names what is missing.
"""

import asyncio
from collections.abc import Mapping, Sequence

from attrs import evolve, field, frozen

from homeserver.core.auth.rules import check_auth
from homeserver.core.auth.selection import auth_state_keys
from homeserver.core.auth.state import CREATE, AuthState
from homeserver.core.event import Event, StateKey
from homeserver.core.receipt_checks import (
    Accepted,
    Rejected,
    SoftFailed,
    Verdict,
    check_by_auth_events,
    check_by_current_state,
    check_by_state_before,
)
from homeserver.services.event_rows import event_row, relation_rows
from homeserver.services.growth import Note, stripped_of
from homeserver.services.placement import Placements, continued_chain
from homeserver.services.redactions import Redactions
from homeserver.services.room_heads import Head, link_hash
from homeserver.services.room_states import RoomStates
from homeserver.services.timeline import ATTEMPTS, Timeline
from storage import room_state
from storage.committer import HeadMoved
from storage.database import Connection
from storage.events import StoredEvent
from storage.room_batches import (
    ACCEPTED,
    MEMBERSHIPS,
    REJECTED,
    SOFT_FAILED,
    HeadMove,
    MembershipChange,
    RoomBatch,
    StateChange,
)
from storage.room_state import StatePoint
from storage.rooms import Room


@frozen
class Arrival:
    """An event that has passed checks 1 to 3, with the bytes it came in (redacted where its hash did not hold)."""

    event: Event
    json: bytes = field(repr=False)
    authorizer_signed: bool = True


@frozen
class Waiting:
    """Not judged yet: these events are unknown here."""

    prev_events: frozenset[str]
    auth_events: frozenset[str]


@frozen
class _Judged:
    """An event with its verdict and the states that led to it."""

    arrival: Arrival
    verdict: Accepted | Rejected | SoftFailed
    before: StatePoint
    prev: tuple[StoredEvent, ...]
    auth: tuple[StoredEvent, ...]

    @property
    def status(self) -> int:
        if isinstance(self.verdict, Accepted):
            return ACCEPTED
        return REJECTED if isinstance(self.verdict, Rejected) else SOFT_FAILED


@frozen
class _Outcome:
    """What the event makes of the room: the event as stored, its extremities, the changes of the main line."""

    stored: StoredEvent
    extremities: tuple[tuple[int, str], ...]
    changes: tuple[StateChange, ...]
    entries: Mapping[StateKey, StoredEvent | None]
    sp: int


@frozen
class Arrivals:
    """The way into our rooms for events that we did not make."""

    timeline: Timeline
    states: RoomStates

    @property
    def _redactions(self) -> Redactions:
        return Redactions(self.timeline.heads)

    async def receive(self, arrival: Arrival) -> Verdict | Waiting:
        """Judge and store one event of a room we are in. A known event is not judged again."""
        for attempt in range(1, ATTEMPTS + 1):
            head = await self.timeline.head(arrival.event.room_id)
            try:
                async with head.lock:
                    return await self._receive(head, arrival)
            except HeadMoved:
                self.timeline.heads.drop(head)
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    async def begin(self, create: Arrival) -> Head:
        """A room that we know by its create event only, so far."""
        event = create.event
        check_auth(event, AuthState({}, event.version))
        nid = await self.timeline.writing.numbers.room()
        head = Head(Room(nid, event.room_id, event.version))
        judged = _Judged(create, Accepted(), StatePoint(0), (), ())
        await self.timeline.writing.state_keys.intern([event.key])
        stored = evolve(await self._stored(head, judged), line_sp=1, on_line=True)
        assert stored.key_nid is not None
        change = StateChange(stored.key_nid, 1, stored.nid)
        outcome = _Outcome(stored, ((stored.nid, event.event_id),), (change,), {CREATE: stored}, 1)
        async with self.timeline.writing.database.read() as conn:
            batch = evolve(await self._batch(conn, head, judged, outcome), new_room=head.room)
        self.timeline.heads.put(head)
        await asyncio.shield(self.timeline.write(head, batch, lambda: _move(head, outcome, batch)))
        self.timeline.heads.reader.rooms.add(head.room)
        return head

    async def _receive(self, head: Head, arrival: Arrival) -> Verdict | Waiting:
        if not head.alive:
            raise HeadMoved("the head was dropped while waiting for it")
        await head.settled()
        self.timeline.heads.trim(head)
        async with self.timeline.writing.database.read() as conn:
            known = await self.states.reader.by_id(conn, arrival.event.event_id)
            if known is not None and known.state_sp is not None:
                return _verdict_of(known)
            judged = await self._judge(conn, head, arrival)
            if isinstance(judged, Waiting):
                return judged
            try:
                outcome = await self._outcome(conn, head, judged)
                batch = await self._batch(conn, head, judged, outcome)
            except BaseException:
                self.timeline.heads.drop(head)  # it may have given out a place in a chain already
                raise
        await asyncio.shield(self.timeline.write(head, batch, lambda: _move(head, outcome, batch)))
        return judged.verdict

    async def _judge(self, conn: Connection, head: Head, arrival: Arrival) -> _Judged | Waiting:
        event = arrival.event
        found = await self.states.reader.by_ids(conn, {*event.prev_events, *event.auth_events})
        prev = [found[i] for i in event.prev_events if i in found and found[i].state_sp is not None]
        auth = [found[i] for i in event.auth_events if i in found]
        if len(prev) < len(event.prev_events) or len(auth) < len(event.auth_events):
            return Waiting(
                frozenset(event.prev_events) - {stored.event.event_id for stored in prev},
                frozenset(event.auth_events) - found.keys(),
            )
        before = await self.states.resolved(conn, head.room, await self.states.points_after(conn, prev))
        verdict = await self._verdict(conn, head, arrival, auth, before)
        return _Judged(arrival, verdict, before, tuple(prev), tuple(auth))

    async def _verdict(
        self, conn: Connection, head: Head, arrival: Arrival, auth: Sequence[StoredEvent], before: StatePoint
    ) -> Accepted | Rejected | SoftFailed:
        """Checks 4 to 6 [ss "Checks performed on receipt of a PDU"]."""
        event, signed = arrival.event, arrival.authorizer_signed
        keys = _judging(event)
        await self.timeline.heads.ensure(head, [*keys, CREATE])
        rejected = check_by_auth_events(
            event,
            [stored.event for stored in auth],
            rejected={stored.event.event_id for stored in auth if stored.status == REJECTED},
            create=head.event(CREATE),
            authorizer_signed=signed,
        )
        if rejected is not None:
            return rejected
        state = await self.states.events_at(conn, head.room, before, keys)
        events = {key: stored.event for key, stored in state.items()}
        version = head.room.version
        rejected = check_by_state_before(event, AuthState(events, version), authorizer_signed=signed)
        if rejected is not None:
            return rejected
        current = AuthState(head.events(keys), version)
        return check_by_current_state(event, current, authorizer_signed=signed) or Accepted()

    async def _outcome(self, conn: Connection, head: Head, judged: _Judged) -> _Outcome:
        stored = await self._stored(head, judged)
        if judged.status != ACCEPTED:
            return _Outcome(stored, head.extremities, (), {}, head.sp)
        followed = await self._followed(conn, judged.prev)
        left = [one for one in head.extremities if one[1] not in followed]
        extremities = (*left, (stored.nid, stored.event.event_id))
        after = judged.before
        if stored.key_nid is not None:
            after = StatePoint(after.sp, {**after.overlay, stored.key_nid: stored.nid})
        beside = await self.states.reader.by_nids(conn, [nid for nid, _ in left])
        points = [after, *await self.states.points_after(conn, list(beside.values()))]
        state = await self.states.resolved(conn, head.room, points, unwritten=[stored])
        return await self._changed(conn, head, evolve(stored), extremities, state)

    async def _followed(self, conn: Connection, prev: Sequence[StoredEvent]) -> set[str]:
        """What the event follows: its previous events, and behind rejected and soft-failed ones also theirs."""
        followed, frontier = {stored.event.event_id for stored in prev}, list(prev)
        while hidden := [stored for stored in frontier if stored.status != ACCEPTED]:
            behind = {event_id for stored in hidden for event_id in stored.event.prev_events} - followed
            followed |= behind
            frontier = list((await self.states.reader.by_ids(conn, behind)).values()) if behind else []
        return followed

    async def _changed(
        self,
        conn: Connection,
        head: Head,
        stored: StoredEvent,
        extremities: tuple[tuple[int, str], ...],
        state: StatePoint,
    ) -> _Outcome:
        """How the main line moves from where it is to `state`."""
        differing = await self.states.differences(conn, head.room, [state, StatePoint(head.sp)])
        nids = {nid for new, _ in differing.values() if (nid := new) is not None and nid != stored.nid}
        events = await self.states.reader.by_nids(conn, nids)
        events[stored.nid] = stored
        names = await self.states.state_keys.names(conn, differing)
        changes, entries, sp = [], {}, head.sp
        for key_nid, (new, _) in sorted(differing.items()):
            sp += 1
            entry = None if new is None else events[new]
            changes.append(StateChange(key_nid, sp, new, _membership(entry)))
            entries[names[key_nid]] = entry
        on_line = [change.event_nid for change in changes] == [stored.nid] and (
            stored.overlay_nid is None and stored.state_sp == head.sp
        )
        stored = evolve(stored, line_sp=sp, on_line=on_line)
        return _Outcome(stored, extremities, tuple(changes), entries, sp)

    async def _stored(self, head: Head, judged: _Judged) -> StoredEvent:
        """The event with its numbers, the state before it and its place in the chain cover."""
        event = judged.arrival.event
        writing = self.timeline.writing
        key_nid = None if not event.is_state else (await writing.state_keys.intern([event.key]))[event.key]
        async with writing.database.writer() as writer:
            overlay_nid = await room_state.intern_overlay(writer, head.room.nid, judged.before)
        stored = StoredEvent(
            nid=(await writing.numbers.events(1)).start,
            room=head.room,
            position=None,
            event=event,
            key_nid=key_nid,
            state_sp=judged.before.sp,
            overlay_nid=overlay_nid,
            line_sp=head.sp,
            status=judged.status,
        )
        if judged.status == REJECTED or not event.is_state:
            return stored
        return await self._placed(head, stored, judged.auth)

    async def _placed(self, head: Head, stored: StoredEvent, auth: Sequence[StoredEvent]) -> StoredEvent:
        cited = list(auth)
        create = head.state.get(CREATE)
        if head.room.version.room_id_is_create_hash and create is not None:
            cited.append(create)
        chains = [continued_chain(one.event.key, one) for one in cited]
        await self.timeline.heads.ensure_tips(head, [chain for chain in chains if chain is not None])
        placements = Placements(head.chains, dict(head.tips))
        placement = placements.place(stored, cited)
        if placement is None:
            return stored
        head.chains, head.tips = placements.chains, placements.tips
        chain, seq = placement.place
        return evolve(stored, chain=chain, chain_seq=seq, chain_links=tuple(placement.links))

    async def _batch(self, conn: Connection, head: Head, judged: _Judged, outcome: _Outcome) -> RoomBatch:
        stored = outcome.stored
        sender_nid = await self.timeline.writing.state_keys.user_nid(stored.event.sender)
        accepted = stored.status == ACCEPTED
        memberships = await self._memberships(head, outcome) if accepted else ()
        redactions, redacted = await self._redactions.of_arrival(conn, head, stored) if accepted else ((), ())
        joined, invited = await self._counts(head, outcome)
        rejection = None if accepted else str(getattr(judged.verdict, "reason", ""))
        return RoomBatch(
            head=HeadMove(
                room_nid=head.room.nid,
                expected=head.version,
                version=stored.nid,
                extremities=tuple(nid for nid, _ in outcome.extremities),
                depth=max(head.depth, stored.event.depth) if accepted else head.depth,
                sp=outcome.sp,
                chains=head.chains,
                joined=joined,
                invited=invited,
            ),
            events=(
                event_row(
                    stored,
                    sender_nid,
                    prev_nids=tuple(prev.nid for prev in judged.prev),
                    auth_nids=tuple(auth.nid for auth in judged.auth),
                    json=judged.arrival.json,
                    rejection=rejection,
                ),
            ),
            state=outcome.changes,
            memberships=memberships,
            relations=tuple(relation_rows(stored, sender_nid, 0)) if accepted else (),
            redactions=redactions,
            found=(stored.event.event_id,),
            note=Note((stored,) if accepted else (), memberships, redacted),
        )

    async def _counts(self, head: Head, outcome: _Outcome) -> tuple[int, int]:
        members = [key for key in outcome.entries if key[0] == "m.room.member"]
        await self.timeline.heads.ensure(head, members)
        joined, invited = head.joined, head.invited
        for key in members:
            for sign, entry in ((-1, head.state[key]), (1, outcome.entries[key])):
                membership = entry.event.membership if entry is not None else None
                joined += sign * (membership == "join")
                invited += sign * (membership == "invite")
        return joined, invited

    async def _memberships(self, head: Head, outcome: _Outcome) -> tuple[MembershipChange, ...]:
        """What the room is to our own users whose membership the step changes."""
        changes = []
        for key, entry in outcome.entries.items():
            membership = _membership(entry)
            if key[0] != "m.room.member" or entry is None or membership is None:
                continue
            if self.timeline.identity.is_ours(key[1]):
                user_nid = await self.timeline.writing.state_keys.user_nid(key[1])
                text = None
                if entry.event.membership in ("invite", "knock"):
                    text = await self._stripped(head, entry.event)
                changes.append(MembershipChange(user_nid, membership, entry.nid, 0, text))
        return tuple(changes)

    async def _stripped(self, head: Head, member: Event) -> str:
        await self.timeline.heads.ensure(head, stripped_of(member))
        return self.timeline.stripped_text(head, member)


def _judging(event: Event) -> tuple[StateKey, ...]:
    return auth_state_keys(event.type, event.sender, event.state_key, event.content, event.version)


def _membership(entry: StoredEvent | None) -> int | None:
    if entry is None or entry.event.type != "m.room.member":
        return None
    return MEMBERSHIPS.get(entry.event.membership or "")


def _verdict_of(known: StoredEvent) -> Verdict:
    if known.status == REJECTED:
        return Rejected(4, "was rejected before")
    if known.status == SOFT_FAILED:
        return SoftFailed(6, "was soft-failed before")
    return Accepted()


def _move(head: Head, outcome: _Outcome, batch: RoomBatch) -> None:
    """The step is queued for writing: the head is what the batch will make it."""
    move = batch.head
    head.version, head.depth, head.sp = move.version, move.depth, move.sp
    head.joined, head.invited = move.joined, move.invited
    head.extremities = outcome.extremities
    if head.room.version.event_id_in_pdu:
        event = outcome.stored.event
        head.hashes = {**head.hashes, event.event_id: link_hash(event)}
    for key, entry in outcome.entries.items():
        head.state[key] = entry
        if entry is not None and entry.nid == outcome.stored.nid:
            head.unwritten[key] = entry.nid
    head.redact([redacted.target for redacted in batch.note.redacted])
