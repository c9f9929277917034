"""How other servers' events become part of a room: numbers, states, extremities, effects; one batch a step.

Whoever uses this holds the lock of the room's head from the intake until the step is with the committer.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve, frozen

from homeserver.core.auth.state import CREATE
from homeserver.core.event import Event, StateKey
from homeserver.core.receipt_checks import Accepted
from homeserver.services.growth import stripped_of
from homeserver.services.intake import Effects, Intake, Outcome, membership_of
from homeserver.services.judging import Arrival, Judged, judging
from homeserver.services.placement import Placements, continued_chain
from homeserver.services.redactions import Redactions
from homeserver.services.room_heads import Head
from homeserver.services.room_states import RoomStates
from homeserver.services.timeline import Timeline
from storage import redactions, room_state
from storage.database import Connection
from storage.events import StoredEvent
from storage.room_batches import ACCEPTED, REJECTED, MembershipChange, StateChange
from storage.room_state import StatePoint

HIDDEN_STEPS = 20  # back through events that are no part of the room, in search of what they follow


@frozen
class TakingUp:
    """Turns judged events into what is written."""

    timeline: Timeline
    states: RoomStates

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
        here = {event_id: stored for event_id, stored in known.items() if stored.room.nid == head.room.nid}
        intake = Intake(
            head,
            here,
            senders={key[1]: keys[key] for key in members},
            redactions=await self._earlier(conn, waiting),
            elsewhere=frozenset(known.keys() - here.keys()),
        )
        await self.load_overlays(conn, intake, intake.known.values())
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

    async def load_overlays(self, conn: Connection, intake: Intake, events: Iterable[StoredEvent]) -> None:
        """The states beside the main line that events stand on."""
        nids = {one.overlay_nid for one in events if one.overlay_nid is not None} - intake.overlays.keys()
        if nids:
            intake.overlays |= await room_state.load_overlays(conn, nids)

    async def written(self, intake: Intake) -> "asyncio.Future[None]":
        """Hand the step to the committer, if there is anything in it."""
        if not intake.pending:
            return asyncio.ensure_future(_nothing())
        batch = intake.batch(await self.timeline.notices(intake.head, intake.step))
        return asyncio.ensure_future(_settled(self.timeline.write(intake.head, batch, lambda: None), intake))

    async def flush(self, conn: Connection, intake: Intake) -> None:
        """What comes next reads the database: let it have everything."""
        await self.settle_line(conn, intake)
        if intake.pending:
            await asyncio.shield(await self.written(intake))

    async def settle_line(self, conn: Connection, intake: Intake) -> None:
        """Move the main line to what the extremities are resolved to: once for all forked events of the step."""
        if not intake.deferred:
            return
        intake.deferred, head = False, intake.head
        intake.deferred_keys.clear()
        tips = {nid for nid, _ in head.extremities}
        ends = {nid: intake.fresh[nid] for nid in tips & intake.fresh.keys()}
        ends |= await self.states.reader.by_nids(conn, tips - ends.keys())
        await self.load_overlays(conn, intake, ends.values())
        points = intake.points_after(ends.values())
        state = await self.states.resolved(conn, head.room, points, unwritten=intake.fresh.values())
        changes, entries = await self._changed(conn, head, state, intake.fresh)
        if changes:
            await self.timeline.heads.ensure(head, entries)
            intake.move_line(changes, entries, await self._memberships(head, entries))

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
        stored = await self.numbered(head, event, outlier=intake.known.get(event.event_id))
        stored = evolve(stored, state_sp=sp, line_sp=sp + 1, on_line=True)
        stored = await self.placed(head, stored, auth)
        assert stored.key_nid is not None
        moved.append(StateChange(stored.key_nid, sp + 1, stored.nid, membership_of(stored)))
        entries = {**changes, event.key: stored}
        outcome = Outcome(stored, ((stored.nid, event.event_id),), tuple(moved), entries, sp + 1)
        judged = Judged(join, Accepted(), StatePoint(sp), at_current=True, prev=(), auth=tuple(auth))
        intake.take_up(judged, outcome, await self._effects(conn, intake, outcome))
        intake.miss(event.prev_events, stored.nid)

    async def take_up(self, conn: Connection, intake: Intake, judged: Judged) -> StoredEvent:
        """Make a judged event part of the step, whatever its verdict."""
        head, event = intake.head, judged.arrival.event
        if judged.status != ACCEPTED:
            stored = await self._stored(intake, judged)
            outcome = Outcome(stored, head.extremities, (), {}, head.sp)
            intake.take_up(judged, outcome, Effects())
            return stored
        followed = await self._followed(conn, intake, judged.prev)
        left = tuple(one for one in head.extremities if one[1] not in followed)
        if judged.at_current and _has_no_rival(intake, event, left):
            # The state after the event is the current one, with the event in it; others have no say in that.
            outcome = await self.straight(head, judged, left, intake.known.get(event.event_id))
        else:
            stored = await self._stored(intake, judged)
            outcome = Outcome(stored, (*left, (stored.nid, event.event_id)), (), {}, head.sp)
            intake.deferred = True
            if event.is_state:
                intake.deferred_keys.add(event.key)
        intake.take_up(judged, outcome, await self._effects(conn, intake, outcome))
        return outcome.stored

    async def straight(
        self,
        head: Head,
        judged: Judged,
        left: tuple[tuple[int, str], ...] = (),
        outlier: StoredEvent | None = None,
    ) -> Outcome:
        """An event on the current state, whose successor that state becomes with it."""
        event = judged.arrival.event
        stored = await self.numbered(head, event, outlier=outlier)
        stored = evolve(stored, state_sp=head.sp, line_sp=head.sp + event.is_state, on_line=event.is_state)
        extremities = (*left, (stored.nid, event.event_id))
        if not event.is_state:
            return Outcome(stored, extremities, (), {}, head.sp)
        stored = await self.placed(head, stored, judged.auth)
        assert stored.key_nid is not None
        change = StateChange(stored.key_nid, head.sp + 1, stored.nid, membership_of(stored))
        return Outcome(stored, extremities, (change,), {event.key: stored}, head.sp + 1)

    async def _changed(
        self, conn: Connection, head: Head, state: StatePoint, fresh: Mapping[int, StoredEvent]
    ) -> tuple[list[StateChange], dict[StateKey, StoredEvent | None]]:
        """How the main line must change to be a state."""
        differing = await self.states.differences(conn, head.room, [state, StatePoint(head.sp)])
        nids = {new for new, _ in differing.values() if new is not None}
        events = {nid: fresh[nid] for nid in nids & fresh.keys()}
        events |= await self.states.reader.by_nids(conn, nids - events.keys())
        names = await self.states.state_keys.names(conn, differing)
        changes: list[StateChange] = []
        entries: dict[StateKey, StoredEvent | None] = {}
        for sp, (key_nid, (new, _)) in enumerate(sorted(differing.items()), start=head.sp + 1):
            entry = None if new is None else events[new]
            changes.append(StateChange(key_nid, sp, new, membership_of(entry)))
            entries[names[key_nid]] = entry
        return changes, entries

    async def _followed(self, conn: Connection, intake: Intake, prev: Sequence[StoredEvent]) -> set[str]:
        """What the event follows: its previous events, and behind rejected and soft-failed ones also theirs.

        Anybody can make long chains of such events. What is too far behind them stays an extremity for a while.
        """
        followed, frontier = {stored.event.event_id for stored in prev}, list(prev)
        for _ in range(HIDDEN_STEPS):
            hidden = [stored for stored in frontier if stored.status != ACCEPTED]
            if not hidden or all(event_id in followed for _, event_id in intake.head.extremities):
                break
            behind = {event_id for stored in hidden for event_id in stored.event.prev_events} - followed
            followed |= behind
            frontier = [intake.known[event_id] for event_id in behind if event_id in intake.known]
            unknown = behind - intake.known.keys()
            frontier += (await self.states.reader.by_ids(conn, unknown)).values() if unknown else []
        return followed

    # --- numbers, places, effects

    async def numbered(
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
        stored = await self.numbered(head, event, status=judged.status, outlier=outlier)
        stored = evolve(stored, state_sp=judged.before.sp, overlay_nid=overlay_nid, line_sp=head.sp)
        if judged.status == REJECTED or not event.is_state:
            return stored
        return await self.placed(head, stored, judged.auth)

    async def placed(self, head: Head, stored: StoredEvent, auth: Sequence[StoredEvent]) -> StoredEvent:
        """The event with its place in the chain cover, if it can authorize others."""
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


def _has_no_rival(intake: Intake, event: Event, left: tuple[tuple[int, str], ...]) -> bool:
    """Is an event on the current state the only one that can change it, or changes it nothing?"""
    if event.is_state:
        return not left and not intake.deferred
    return len(left) < len(intake.head.extremities) or not left


async def _nothing() -> None:
    """There was nothing to write."""


async def _settled(write: "asyncio.Future[list[StoredEvent]]", intake: Intake) -> None:
    await write
    intake.settle()
