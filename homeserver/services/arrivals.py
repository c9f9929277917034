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
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeVar

from attrs import frozen

from homeserver.core.auth.rules import check_auth
from homeserver.core.auth.state import CREATE, AuthState
from homeserver.core.dag import topological
from homeserver.core.receipt_checks import Accepted, Dropped, Rejected, Verdict
from homeserver.services.intake import Effects, Intake
from homeserver.services.judging import (
    Arrival,
    Ground,
    Judge,
    Judged,
    Waiting,
    as_first_told,
    by_auth_events,
    is_unjudged,
    judging,
    verdict_of,
)
from homeserver.services.room_heads import Head
from homeserver.services.room_states import RoomStates
from homeserver.services.taking_up import TakingUp
from homeserver.services.timeline import ATTEMPTS, Timeline
from storage import room_state
from storage.committer import HeadMoved
from storage.database import Connection
from storage.events import StoredEvent
from storage.room_batches import OUTLIER, REJECTED
from storage.room_state import StatePoint
from storage.rooms import Room

Verdicts = dict[str, Verdict | Waiting]
T = TypeVar("T")
TURN = 20  # events judged before others get their turn on the loop
_TAKEN = Dropped(1, "its id is that of an event of another room")  # until v2 senders choose ids


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
        async with self.timeline.writing.database.leading_read() as conn:
            intake = await self.taking.intake(conn, head, [create])
            intake.new_room = head.room
            judged = Judged(create, Accepted(), StatePoint(0), at_current=True, prev=(), auth=())
            outcome = await self.taking.straight(head, judged)
            intake.take_up(judged, outcome, Effects())
        self.timeline.heads.put(head)
        await asyncio.shield(await self.taking.written(intake))
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
            async with self.timeline.writing.database.leading_read() as conn:
                intake = await self.taking.intake(conn, head, arrivals)
                await work(conn, intake)
                await self.taking.settle_line(conn, intake)
            return await self.taking.written(intake)
        except BaseException:
            self.timeline.heads.drop(head)  # it may have moved on already
            raise

    # --- one event

    async def _take(self, conn: Connection, intake: Intake, arrival: Arrival) -> Verdict | Waiting:
        known, head = intake.known.get(arrival.event.event_id), intake.head
        if known is not None and known.state_sp is not None:
            return verdict_of(known)
        if arrival.event.event_id in intake.elsewhere:
            return _TAKEN
        arrival = as_first_told(arrival, known)
        event = arrival.event
        if (
            not event.prev_events
        ):  # only the create event follows nothing, and that is known since the room is
            return Dropped(4, "it follows no event") if known is None else verdict_of(known)
        waiting = intake.links(event.prev_events, event.auth_events)
        if waiting is not None:
            return waiting
        if not intake.deferred_keys.isdisjoint(judging(event)):
            await self.taking.flush(
                conn, intake
            )  # check 6 asks what the forks before it have made of the room
        prev = [intake.known[event_id] for event_id in event.prev_events]
        auth = [intake.known[event_id] for event_id in event.auth_events]
        before = await self._before(conn, intake, prev)
        ground = Ground(before, prev, auth, unwritten=intake.fresh)
        judged = await self._judge.judge(conn, head, arrival, ground)
        await self.taking.take_up(conn, intake, judged)
        return judged.verdict

    @property
    def taking(self) -> TakingUp:
        """How what was judged is written."""
        return TakingUp(self.timeline, self.states)

    @property
    def _judge(self) -> Judge:
        return Judge(self.timeline.heads, self.states)

    async def _before(self, conn: Connection, intake: Intake, prev: Sequence[StoredEvent]) -> StatePoint:
        """The state before an event: the one after its previous events, resolved where they disagree."""
        await self.taking.load_overlays(conn, intake, prev)
        points = intake.points_after(prev)
        if points and all(point == intake.current for point in points):
            return intake.current
        one_state = all(point == points[0] for point in points)
        if intake.line_moved or not one_state:
            await self.taking.flush(conn, intake)
        return points[0] if one_state else await self.states.resolved(conn, intake.head.room, points)

    async def _place(
        self, conn: Connection, intake: Intake, arrival: Arrival, state: Collection[str]
    ) -> Verdict | Waiting:
        known, head = intake.known.get(arrival.event.event_id), intake.head
        if known is not None and known.state_sp is not None:
            return verdict_of(known)
        if arrival.event.event_id in intake.elsewhere:
            return _TAKEN
        arrival = as_first_told(arrival, known)
        event = arrival.event
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
        beside = [one for one in prev if one.state_sp is not None]
        if beside:  # what is told may be the state at the hole alone, and may be a lie
            await self.taking.load_overlays(conn, intake, beside)
            points = [before, *intake.points_after(beside)]
            before = await self.states.resolved(conn, head.room, points)
        auth = [intake.known[event_id] for event_id in event.auth_events]
        judged = await self._judge.judge(conn, head, arrival, Ground(before, prev, auth, behind_gap=True))
        stored = await self.taking.take_up(conn, intake, judged)
        placed = {one.event.event_id for one in prev if one.state_sp is not None}  # an outlier fills no hole
        intake.miss({*event.prev_events} - placed, stored.nid)
        return judged.verdict

    async def _keep(self, intake: Intake, arrival: Arrival) -> Verdict | Waiting:
        """Who cites an event of another room would wait for ever, so it is rejected at once."""
        event, head = arrival.event, intake.head
        known = intake.known.get(event.event_id)
        if known is not None and not is_unjudged(known):
            return verdict_of(known)
        if event.event_id in intake.elsewhere:
            return _TAKEN
        waiting = intake.links((), event.auth_events)
        rejected: Rejected | None = None
        if waiting is not None:
            if waiting.auth_events.isdisjoint(intake.elsewhere):
                return waiting
            rejected = Rejected(4, "an auth event is one of another room")  # [rooms/v12 auth 3.5]
        auth = [intake.known[event_id] for event_id in event.auth_events if event_id in intake.known]
        rejected = rejected or by_auth_events(head, arrival, auth)
        status = OUTLIER if rejected is None else REJECTED
        stored = await self.taking.numbered(head, event, status=status, outlier=known)
        if rejected is None:
            stored = await self.taking.placed(head, stored, auth)
        reason = None if rejected is None else rejected.reason
        intake.add_row(stored, arrival.json, prev=(), auth=auth, rejection=reason)
        return rejected or Accepted()
