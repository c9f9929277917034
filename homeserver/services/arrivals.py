"""Events of other servers enter a room: checked against its states, then written like our own.

The caller (federation) has checked format, signatures and hash, and has fetched what the events point at. From here on
it is the numbered checks 4 to 7 on receipt of a PDU, the state before each event (resolved where its previous events
disagree), and batches: events, the room's new extremities, and what changes of the current state. The verdict is a
value. An event whose previous or auth events are unknown is not judged: the answer names what is missing.

Nearly every event stands on the room's current state; then everything it needs is in memory, and many events make
one batch. One that stands on another state is judged once all before it is written, since resolution reads the
database.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from attrs import evolve, frozen

from homeserver.core.auth.rules import check_auth
from homeserver.core.auth.state import CREATE, AuthState
from homeserver.core.dag import topological
from homeserver.core.event import Event, StateKey
from homeserver.core.receipt_checks import Accepted, Dropped, Verdict
from homeserver.services.growth import stripped_of
from homeserver.services.intake import Effects, Intake, Outcome, membership_of
from homeserver.services.judging import Arrival, Judge, Judged, Waiting, by_auth_events, judging, verdict_of
from homeserver.services.placement import Placements, continued_chain
from homeserver.services.redactions import Redactions
from homeserver.services.room_heads import Head
from homeserver.services.room_states import RoomStates
from homeserver.services.timeline import ATTEMPTS, Timeline
from storage import redactions, room_state
from storage.committer import HeadMoved
from storage.database import Connection
from storage.events import StoredEvent
from storage.room_batches import ACCEPTED, OUTLIER, REJECTED, MembershipChange, StateChange
from storage.room_state import StatePoint
from storage.rooms import Room

Verdicts = dict[str, Verdict | Waiting]
T = TypeVar("T")
TURN = 20  # events judged before others get their turn on the loop


@frozen
class Arrivals:
    """The way into our rooms for events that we did not make."""

    timeline: Timeline
    states: RoomStates

    async def receive(self, arrival: Arrival) -> Verdict | Waiting:
        """Judge and store one event of a room we are in. A known event is not judged again."""
        verdicts = await self.receive_all(arrival.event.room_id, [arrival])
        return verdicts[arrival.event.event_id]

    async def receive_all(self, room_id: str, arrivals: Sequence[Arrival]) -> Verdicts:
        """Judge and store events of one room we are in, in any order, in as few commits as can be."""
        arrivals = await self._recommended(room_id, arrivals)
        by_id = {arrival.event.event_id: arrival for arrival in arrivals}
        ordered = topological(arrival.event for arrival in by_id.values())
        verdicts: Verdicts = {
            event.event_id: Dropped(4, "its links lead back to itself") for event in ordered.circular
        }

        async def work(conn: Connection, intake: Intake) -> None:
            for count, event in enumerate(ordered.order, start=1):
                verdicts[event.event_id] = await self._take(conn, intake, by_id[event.event_id])
                if count % TURN == 0:
                    await asyncio.sleep(0)

        await self._step(room_id, [by_id[event.event_id] for event in ordered.order], work)
        return verdicts

    async def place(self, arrival: Arrival, state: Collection[str]) -> Verdict | Waiting:
        """An event whose previous events cannot be had: another server told the state before it, event by event.

        Events of `state` that were rejected here are left out of it. Answers with Waiting if some are not known.
        """
        event = arrival.event
        (arrival,) = await self._recommended(event.room_id, [arrival])
        made: list[Verdict | Waiting] = []

        async def work(conn: Connection, intake: Intake) -> None:
            made.append(await self._place(conn, intake, arrival, state))

        await self._step(event.room_id, [arrival], work)
        return made[-1]

    async def keep(self, room_id: str, arrivals: Sequence[Arrival]) -> Verdicts:
        """Store events as outliers: judged by their auth events alone, part of no timeline, cited by others."""
        by_id = {arrival.event.event_id: arrival for arrival in arrivals}
        ordered = topological(arrival.event for arrival in by_id.values()).order
        verdicts: Verdicts = {}

        async def work(conn: Connection, intake: Intake) -> None:
            for count, event in enumerate(ordered, start=1):
                verdicts[event.event_id] = await self._keep(intake, by_id[event.event_id])
                if count % TURN == 0:
                    await asyncio.sleep(0)

        await self._step(room_id, [by_id[event.event_id] for event in ordered], work)
        return verdicts

    async def begin(self, create: Arrival) -> Head:
        """A room that we know by its create event only, so far."""
        event = create.event
        check_auth(event, AuthState({}, event.version))
        nid = await self.timeline.writing.numbers.room()
        head = Head(Room(nid, event.room_id, event.version))
        head.state[CREATE] = None
        async with self.timeline.writing.database.read() as conn:
            intake = await self.intake(conn, head, [create])
            intake.new_room = head.room
            judged = Judged(create, Accepted(), StatePoint(0), at_current=True, prev=(), auth=())
            outcome = await self._straight(head, judged)
            intake.take_up(judged, outcome, Effects())
        self.timeline.heads.put(head)
        await asyncio.shield(self.written(intake))
        self.timeline.heads.reader.rooms.add(head.room)
        return head

    async def _recommended(self, room_id: str, arrivals: Sequence[Arrival]) -> Sequence[Arrival]:
        """Check 7 comes first where it asks another server: the room does not wait for that."""
        policing = self.timeline.policing
        return (
            arrivals
            if policing is None
            else await policing.judged(await self.timeline.head(room_id), arrivals)
        )

    # --- one step of a room

    async def _step(
        self, room_id: str, arrivals: Sequence[Arrival], work: Callable[[Connection, Intake], Awaitable[None]]
    ) -> None:
        """Do `work` on the room's head under its lock, and again if another process moved the head."""
        for attempt in range(1, ATTEMPTS + 1):
            head = await self.timeline.head(room_id)
            try:
                async with head.lock:
                    written = await self._worked(head, arrivals, work)
                await asyncio.shield(written)
                return
            except HeadMoved:
                self.timeline.heads.drop(head)
                if attempt == ATTEMPTS:
                    raise

    async def _worked(
        self,
        head: Head,
        arrivals: Sequence[Arrival],
        work: Callable[[Connection, Intake], Awaitable[None]],
    ) -> "asyncio.Future[None]":
        if not head.alive:
            raise HeadMoved("the head was dropped while waiting for it")
        await head.settled()
        self.timeline.heads.trim(head)
        try:
            async with self.timeline.writing.database.read() as conn:
                intake = await self.intake(conn, head, arrivals)
                await work(conn, intake)
        except BaseException:
            self.timeline.heads.drop(head)  # it may have moved on already
            raise
        return self.written(intake)

    async def intake(self, conn: Connection, head: Head, arrivals: Sequence[Arrival]) -> Intake:
        """Load at once what the arrivals will surely need."""
        events = [arrival.event for arrival in arrivals]
        named = {i for event in events for i in (event.event_id, *event.prev_events, *event.auth_events)}
        known = await self.states.reader.by_ids(conn, named)
        members = [("m.room.member", event.sender) for event in events]
        keys = await self.timeline.key_nids([*members, *(event.key for event in events if event.is_state)])
        needed = {key for event in events for key in judging(event)}
        needed |= {event.key for event in events if event.is_state}
        await self.timeline.heads.ensure(head, [*needed, CREATE])
        waiting = await redactions.of_events(conn, head.room.nid, [event.event_id for event in events])
        intake = Intake(
            head,
            {event_id: stored for event_id, stored in known.items() if stored.room.nid == head.room.nid},
            senders={key[1]: keys[key] for key in members},
            redactions=await self._earlier(conn, waiting),
        )
        await self._load_overlays(conn, intake, intake.known.values())
        return intake

    async def _earlier(
        self, conn: Connection, waiting: Sequence[tuple[str, int]]
    ) -> Mapping[str, Sequence[StoredEvent]]:
        if not waiting:
            return {}
        events = await self.states.reader.by_nids(conn, [nid for _, nid in waiting])
        found: dict[str, list[StoredEvent]] = {}
        for redacts, nid in waiting:
            if nid in events and events[nid].status == ACCEPTED:
                found.setdefault(redacts, []).append(events[nid])
        return found

    async def _load_overlays(self, conn: Connection, intake: Intake, events: Iterable[StoredEvent]) -> None:
        nids = {one.overlay_nid for one in events if one.overlay_nid is not None} - intake.overlays.keys()
        if nids:
            intake.overlays |= await room_state.load_overlays(conn, nids)

    def written(self, intake: Intake) -> "asyncio.Future[None]":
        """Hand the step to the committer, if there is anything in it."""
        if not intake.pending:
            return asyncio.ensure_future(_nothing())
        batch = intake.batch()
        return asyncio.ensure_future(_settled(self.timeline.write(intake.head, batch, lambda: None), intake))

    async def _flush(self, intake: Intake) -> None:
        """What comes next reads the database: let it have everything."""
        if intake.pending:
            await asyncio.shield(self.written(intake))

    async def enter(
        self,
        conn: Connection,
        intake: Intake,
        join: Arrival,
        changes: Mapping[StateKey, StoredEvent | None],
        auth: Sequence[StoredEvent],
    ) -> None:
        """Our way into a room: the join, on a main line that becomes what was told (`changes`), behind a gap."""
        head, event = intake.head, join.event
        await self.timeline.heads.ensure(head, changes)
        numbers = await self.timeline.key_nids(list(changes))
        moved = [
            StateChange(numbers[key], sp, None if entry is None else entry.nid, membership_of(entry))
            for sp, (key, entry) in enumerate(changes.items(), start=head.sp + 1)
        ]
        sp = head.sp + len(moved)
        stored = await self._numbered(head, event, outlier=intake.known.get(event.event_id))
        stored = evolve(stored, state_sp=sp, line_sp=sp + 1, on_line=True)
        stored = await self._placed(head, stored, auth)
        assert stored.key_nid is not None
        moved.append(StateChange(stored.key_nid, sp + 1, stored.nid, membership_of(stored)))
        entries = {**changes, event.key: stored}
        outcome = Outcome(stored, ((stored.nid, event.event_id),), tuple(moved), entries, sp + 1)
        judged = Judged(join, Accepted(), StatePoint(sp), at_current=True, prev=(), auth=tuple(auth))
        intake.take_up(judged, outcome, await self._effects(conn, intake, outcome))
        intake.miss(event.prev_events, stored.nid)

    # --- one event

    async def _take(self, conn: Connection, intake: Intake, arrival: Arrival) -> Verdict | Waiting:
        event, head = arrival.event, intake.head
        known = intake.known.get(event.event_id)
        if known is not None and known.state_sp is not None:
            return verdict_of(known)
        waiting = intake.links(event.prev_events, event.auth_events)
        if waiting is not None:
            return waiting
        prev = [intake.known[event_id] for event_id in event.prev_events]
        auth = [intake.known[event_id] for event_id in event.auth_events]
        before = await self._before(conn, intake, prev)
        judged = await self._judge.judge(conn, head, arrival, before, prev=prev, auth=auth)
        await self._take_up(conn, intake, judged)
        return judged.verdict

    @property
    def _judge(self) -> Judge:
        return Judge(self.timeline.heads, self.states)

    async def _before(self, conn: Connection, intake: Intake, prev: Sequence[StoredEvent]) -> StatePoint:
        """The state before an event: the one after its previous events, resolved where they disagree."""
        await self._load_overlays(conn, intake, prev)
        points = intake.points_after(prev)
        if points and all(point == intake.current for point in points):
            return intake.current
        await self._flush(intake)
        return await self.states.resolved(conn, intake.head.room, points)

    async def _place(
        self, conn: Connection, intake: Intake, arrival: Arrival, state: Collection[str]
    ) -> Verdict | Waiting:
        event, head = arrival.event, intake.head
        known = intake.known.get(event.event_id)
        if known is not None and known.state_sp is not None:
            return verdict_of(known)
        entries = await room_state.entries_of(conn, head.room.nid, state)
        missing = set(state) - {entry.event_id for entry in entries}
        waiting = intake.links((), event.auth_events)
        if missing or waiting is not None:
            return Waiting(
                frozenset(), frozenset(missing) | (waiting.auth_events if waiting else frozenset())
            )
        told = {entry.key_nid: entry.nid for entry in entries if entry.status != REJECTED}
        now = (await room_state.whole_current(conn, [head.room.nid], members=True)).get(head.room.nid, {})
        differing = {key: told.get(key) for key in {*told, *now} if told.get(key) != now.get(key)}
        before = StatePoint(head.sp, differing)
        prev = [intake.known[i] for i in event.prev_events if i in intake.known]
        auth = [intake.known[event_id] for event_id in event.auth_events]
        judged = await self._judge.judge(conn, head, arrival, before, prev=prev, auth=auth, behind_gap=True)
        stored = await self._take_up(conn, intake, judged)
        placed = {one.event.event_id for one in prev if one.state_sp is not None}  # an outlier fills no hole
        intake.miss({*event.prev_events} - placed, stored.nid)
        return judged.verdict

    async def _keep(self, intake: Intake, arrival: Arrival) -> Verdict | Waiting:
        event, head = arrival.event, intake.head
        known = intake.known.get(event.event_id)
        if known is not None:
            return verdict_of(known)
        waiting = intake.links((), event.auth_events)
        if waiting is not None:
            return waiting
        auth = [intake.known[event_id] for event_id in event.auth_events]
        rejected = by_auth_events(head, arrival, auth)
        stored = await self._numbered(head, event, status=OUTLIER if rejected is None else REJECTED)
        if rejected is None:
            stored = await self._placed(head, stored, auth)
        reason = None if rejected is None else rejected.reason
        intake.add_row(stored, arrival.json, prev=(), auth=auth, rejection=reason)
        return rejected or Accepted()

    async def _take_up(self, conn: Connection, intake: Intake, judged: Judged) -> StoredEvent:
        head, event = intake.head, judged.arrival.event
        if judged.status != ACCEPTED:
            stored = await self._stored(intake, judged)
            outcome = Outcome(stored, head.extremities, (), {}, head.sp)
            intake.take_up(judged, outcome, Effects())
            return stored
        followed = await self._followed(conn, judged.prev)
        left = tuple(one for one in head.extremities if one[1] not in followed)
        if judged.at_current and (not left or (not event.is_state and len(left) < len(head.extremities))):
            # The state after the event is the current one, with the event in it; others have no say in that.
            outcome = await self._straight(head, judged, left, intake.known.get(event.event_id))
        else:
            await self._flush(intake)
            outcome = await self._forked(conn, intake, judged, left)
        intake.take_up(judged, outcome, await self._effects(conn, intake, outcome))
        return outcome.stored

    async def _straight(
        self,
        head: Head,
        judged: Judged,
        left: tuple[tuple[int, str], ...] = (),
        outlier: StoredEvent | None = None,
    ) -> Outcome:
        event = judged.arrival.event
        stored = await self._numbered(head, event, outlier=outlier)
        stored = evolve(stored, state_sp=head.sp, line_sp=head.sp + event.is_state, on_line=event.is_state)
        extremities = (*left, (stored.nid, event.event_id))
        if not event.is_state:
            return Outcome(stored, extremities, (), {}, head.sp)
        stored = await self._placed(head, stored, judged.auth)
        assert stored.key_nid is not None
        change = StateChange(stored.key_nid, head.sp + 1, stored.nid, membership_of(stored))
        return Outcome(stored, extremities, (change,), {event.key: stored}, head.sp + 1)

    async def _forked(
        self, conn: Connection, intake: Intake, judged: Judged, left: tuple[tuple[int, str], ...]
    ) -> Outcome:
        """How the main line moves to what the extremities, the event among them, are resolved to."""
        head = intake.head
        stored = await self._stored(intake, judged)
        extremities = (*left, (stored.nid, stored.event.event_id))
        after = judged.before
        if stored.key_nid is not None:
            after = StatePoint(after.sp, {**after.overlay, stored.key_nid: stored.nid})
        beside = await self.states.reader.by_nids(conn, [nid for nid, _ in left])
        points = [after, *await self.states.points_after(conn, list(beside.values()))]
        state = await self.states.resolved(conn, head.room, points, unwritten=[stored])
        return await self._changed(conn, head, stored, extremities, state)

    async def _changed(
        self,
        conn: Connection,
        head: Head,
        stored: StoredEvent,
        extremities: tuple[tuple[int, str], ...],
        state: StatePoint,
    ) -> Outcome:
        differing = await self.states.differences(conn, head.room, [state, StatePoint(head.sp)])
        nids = {nid for new, _ in differing.values() if (nid := new) is not None and nid != stored.nid}
        events = await self.states.reader.by_nids(conn, nids)
        events[stored.nid] = stored
        names = await self.states.state_keys.names(conn, differing)
        changes, entries, sp = [], {}, head.sp
        for key_nid, (new, _) in sorted(differing.items()):
            sp += 1
            entry = None if new is None else events[new]
            changes.append(StateChange(key_nid, sp, new, membership_of(entry)))
            entries[names[key_nid]] = entry
        on_line = [change.event_nid for change in changes] == [stored.nid] and (
            stored.overlay_nid is None and stored.state_sp == head.sp
        )
        return Outcome(evolve(stored, line_sp=sp, on_line=on_line), extremities, tuple(changes), entries, sp)

    async def _followed(self, conn: Connection, prev: Sequence[StoredEvent]) -> set[str]:
        """What the event follows: its previous events, and behind rejected and soft-failed ones also theirs."""
        followed, frontier = {stored.event.event_id for stored in prev}, list(prev)
        while hidden := [stored for stored in frontier if stored.status != ACCEPTED]:
            behind = {event_id for stored in hidden for event_id in stored.event.prev_events} - followed
            followed |= behind
            frontier = list((await self.states.reader.by_ids(conn, behind)).values()) if behind else []
        return followed

    # --- numbers, places, effects

    async def _numbered(
        self, head: Head, event: Event, *, status: int = ACCEPTED, outlier: StoredEvent | None = None
    ) -> StoredEvent:
        """The event with its numbers; one that was an outlier keeps its own, and its place in the chain cover."""
        key_nid = (await self.timeline.key_nids([event.key]))[event.key] if event.is_state else None
        if outlier is not None:
            return evolve(outlier, event=event, status=status)
        nid = (await self.timeline.writing.numbers.events(1)).start
        return StoredEvent(
            nid=nid, room=head.room, position=None, event=event, key_nid=key_nid, status=status
        )

    async def _stored(self, intake: Intake, judged: Judged) -> StoredEvent:
        """The event with its numbers, the state before it and its place in the chain cover."""
        head, event = intake.head, judged.arrival.event
        overlay_nid = None
        if judged.before.overlay:
            async with self.timeline.writing.database.writer() as writer:
                overlay_nid = await room_state.intern_overlay(writer, head.room.nid, judged.before)
            if overlay_nid is not None:
                intake.overlays[overlay_nid] = judged.before
        outlier = intake.known.get(event.event_id)
        stored = await self._numbered(head, event, status=judged.status, outlier=outlier)
        stored = evolve(stored, state_sp=judged.before.sp, overlay_nid=overlay_nid, line_sp=head.sp)
        if judged.status == REJECTED or not event.is_state:
            return stored
        return await self._placed(head, stored, judged.auth)

    async def _placed(self, head: Head, stored: StoredEvent, auth: Sequence[StoredEvent]) -> StoredEvent:
        if stored.chain is not None:
            return stored
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

    async def _effects(self, conn: Connection, intake: Intake, outcome: Outcome) -> Effects:
        members = [key for key in outcome.entries if key[0] == "m.room.member"]
        await self.timeline.heads.ensure(intake.head, members)
        rows, redacted = await Redactions(self.timeline.heads).of_arrival(
            conn, intake.head, outcome.stored, known=intake.known, earlier=intake.redactions
        )
        return Effects(await self._memberships(intake.head, outcome.entries), rows, redacted)

    async def _memberships(
        self, head: Head, entries: Mapping[StateKey, StoredEvent | None]
    ) -> tuple[MembershipChange, ...]:
        """What the room is to our own users whose membership the event changes."""
        changes = []
        for key, entry in entries.items():
            membership = membership_of(entry)
            if entry is None or membership is None or not self.timeline.identity.is_ours(key[1]):
                continue
            user_nid = await self.timeline.writing.state_keys.user_nid(key[1])
            text = None
            if entry.event.membership in ("invite", "knock"):
                await self.timeline.heads.ensure(head, stripped_of(entry.event))
                text = self.timeline.stripped_text(head, entry.event)
            changes.append(MembershipChange(user_nid, membership, entry.nid, 0, text))
        return tuple(changes)


async def _nothing() -> None:
    """There was nothing to write."""


async def _settled(write: "asyncio.Future[list[StoredEvent]]", intake: Intake) -> None:
    await write
    intake.settle()
