"""History from before our time in a room: put in front of its timeline, under negative positions.

The caller has fetched events that lead up to the beginning of what we have, checked them (checks 1 to 3), and has the
states before those of them that stand on nothing we know, as another server tells them. Here each is judged by its
auth events and by the state before it. The room's present state has no say in what was said long ago, nothing becomes
an extremity, and no sync is woken: history is seen by who asks for it.

States of history are overlays over the main line at the room's beginning. Its state events are stored as outliers
first, like all that only authorizes others; that gives them their places in the chain cover.
"""

from collections.abc import Collection, Mapping, Sequence

from attrs import define, evolve, field, frozen

from homeserver.core.auth.state import CREATE, POWER_LEVELS, AuthState
from homeserver.core.dag import topological
from homeserver.core.event import Event, StateKey
from homeserver.core.receipt_checks import Rejected, check_by_state_before
from homeserver.services.arrivals import Arrivals
from homeserver.services.event_rows import event_row, relation_rows
from homeserver.services.finding.documents import take_history
from homeserver.services.intake import Intake
from homeserver.services.judging import Arrival, as_first_told, by_auth_events, judging
from homeserver.services.redactions import Redactions
from homeserver.services.room_states import point_after
from homeserver.services.timeline import Timeline
from storage import histories_behind as tables
from storage import room_state
from storage.committer import Touched
from storage.database import Connection, UniqueViolation
from storage.events import StoredEvent
from storage.histories_behind import Edge, PlaceTaken, Stretch
from storage.room_batches import ACCEPTED, REJECTED, EventRow, RedactionRow, RelationRow
from storage.room_state import StatePoint
from storage.rooms import Room

MAX_WANTED = 20
MAX_OVERLAY = 5_000  # differences of a state: history further back costs too much to keep

States = Mapping[str, Collection[str]]  # event id -> the events of the state before it


class TooFarBack(Exception):
    """So much of the room's state has changed since then that we do not keep the history."""


@frozen
class HistoriesBehind:
    """The way in for history."""

    arrivals: Arrivals

    async def edge(self, room: Room, position: int) -> Edge | None:
        """What is missing in front of an event behind a gap; at 0, of where what we have of the room begins."""
        async with self._timeline.writing.database.read() as conn:
            if position:
                return await tables.gap(conn, room.nid, position - 1, position, MAX_WANTED)
            return await tables.edge(conn, room.nid, MAX_WANTED)

    async def take(self, room: Room, edge: Edge, arrivals: Sequence[Arrival], told: States) -> int:
        """Judge and store events that lead up to the edge; gives how many are in the timeline now.

        What has neither known previous events nor a told state is left out, and so is what it would have to be
        put in front of. Raises TooFarBack.
        """
        by_id = {arrival.event.event_id: arrival for arrival in arrivals}
        ordered = [by_id[event.event_id] for event in topological(one.event for one in arrivals).order]
        await self.arrivals.keep(room.room_id, [one for one in ordered if one.event.is_state])
        stretch = await self._stretch(room, edge, ordered, told)
        taken = {row.event_id: by_id[row.event_id].event for row in stretch.events}
        leading = _leading_to(edge.wanted, taken)
        if len(leading) < len(taken):  # what is in front of a hole would get the place of what is in the hole
            ordered = [one for one in ordered if one.event.event_id in leading]
            stretch = await self._stretch(room, edge, ordered, told)
        if not stretch.events:
            return 0

        async def job(conn: Connection, position: int) -> None:
            await tables.place(conn, stretch)
            await take_history(conn, room.nid, stretch.events)  # followers of the clock do not look back

        try:
            await self._timeline.writing.committer.run(job, Touched())
        except (UniqueViolation, PlaceTaken):
            return 0  # another process has fetched the same
        return sum(event.in_timeline for event in stretch.events)

    async def _stretch(self, room: Room, edge: Edge, ordered: Sequence[Arrival], told: States) -> Stretch:
        head = await self._timeline.head(room.room_id)
        await self._timeline.heads.ensure(head, [CREATE, POWER_LEVELS])
        numbers = iter(await self._timeline.writing.numbers.many_events(len(ordered)))
        async with self._timeline.writing.database.leading_read() as conn:
            intake = await self.arrivals.taking.intake(conn, head, ordered)
            await self._load_redacted(conn, intake, ordered)
            step = _Step(self.arrivals, conn, edge, intake)
            await step.load(ordered, told)
            for arrival in ordered:
                if arrival.event.event_id not in intake.elsewhere:  # until v2 senders choose ids
                    await step.take(arrival, next(numbers))
        return step.stretch()

    async def _load_redacted(self, conn: Connection, intake: Intake, arrivals: Sequence[Arrival]) -> None:
        named = {redacts for one in arrivals if (redacts := one.event.redacts) is not None}
        found = await self._timeline.heads.reader.by_ids(conn, named - intake.known.keys())
        here = {i: stored for i, stored in found.items() if stored.room.nid == intake.head.room.nid}
        intake.known |= here
        intake.elsewhere |= found.keys() - here.keys()

    @property
    def _timeline(self) -> Timeline:
        return self.arrivals.timeline


@define(eq=False)
class _Step:
    """One stretch in the making: what was loaded for it, and what is to be written."""

    arrivals: Arrivals
    conn: Connection
    edge: Edge
    intake: Intake
    keys: dict[StateKey, int] = field(factory=dict)  # numbers of all keys that anything is judged by
    line: dict[int, int] = field(factory=dict)  # these on the main line at base_sp
    told: dict[str, StatePoint] = field(factory=dict)
    entries: dict[int, StoredEvent] = field(factory=dict)  # state events, by number
    rows: list[EventRow] = field(factory=list)
    points: list[StatePoint] = field(factory=list)
    relations: list[RelationRow] = field(factory=list)
    redactions: list[RedactionRow] = field(factory=list)
    missing: list[tuple[str, int]] = field(factory=list)

    @property
    def base_sp(self) -> int:
        return self.edge.base_sp

    async def load(self, ordered: Sequence[Arrival], told: States) -> None:
        """Everything that judging will ask for, at once."""
        events = [arrival.event for arrival in ordered]
        room_nid = self.intake.head.room.nid
        wanted = {key for event in events for key in judging(event)} | {CREATE}
        wanted |= {event.key for event in events if event.is_state}
        self.keys = await self.arrivals.states.state_keys.find(self.conn, wanted)
        self.line = await room_state.at(self.conn, room_nid, self.base_sp, self.keys.values())
        for event_id, state in told.items():
            self.told[event_id] = await self._told_point(state)
        numbers = set(self.keys.values())
        nids = set(self.line.values())
        for point in self.told.values():
            nids |= {nid for key, nid in point.overlay.items() if key in numbers and nid is not None}
        self.entries = await self.arrivals.states.reader.by_nids(self.conn, nids)
        self.entries |= {one.nid: one for one in self.intake.known.values() if one.key_nid is not None}

    async def _told_point(self, state: Collection[str]) -> StatePoint:
        """As differences from the line's beginning or, where that is less, from nothing."""
        room_nid = self.intake.head.room.nid
        overlay = await tables.differences(self.conn, room_nid, self.base_sp, list(state))
        point = StatePoint(self.base_sp, overlay)
        if len(overlay) > len(state):
            point = StatePoint(0, await tables.differences(self.conn, room_nid, 0, list(state)))
        if len(point.overlay) > MAX_OVERLAY:
            raise TooFarBack(f"{len(point.overlay)} differences")
        return point

    async def take(self, arrival: Arrival, number: int) -> None:
        """Judge one event whose previous events, as far as they can be had, were taken before it."""
        known = self.intake.known
        outlier = known.get(arrival.event.event_id)
        arrival = as_first_told(arrival, outlier)
        event = arrival.event
        if (outlier is not None and outlier.state_sp is not None) or (event.is_state and outlier is None):
            return  # it has its place already, or what authorizes it could not be had
        auth = [known[cited] for cited in event.auth_events if cited in known]
        before = await self._before(event)
        if before is None or len(auth) < len(event.auth_events):
            return
        stored = StoredEvent(number, self.intake.head.room, None, event)
        if outlier is not None:
            stored = evolve(outlier, event=event)
        rejected = await self._refusal(arrival, stored, auth, before)
        status = ACCEPTED if rejected is None else REJECTED
        stored = evolve(stored, state_sp=before.sp, line_sp=before.sp, on_line=False, status=status)
        await self._write(arrival, stored, before, auth, None if rejected is None else rejected.reason)

    def stretch(self) -> Stretch:
        """What is to be written."""
        return Stretch(
            room_nid=self.intake.head.room.nid,
            position=self.edge.position,
            events=self.rows,
            points=self.points,
            relations=self.relations,
            redactions=self.redactions,
            missing=self.missing,
        )

    async def _before(self, event: Event) -> StatePoint | None:
        told = self.told.get(event.event_id)
        if told is not None:
            return told
        prev = [self.intake.known.get(event_id) for event_id in event.prev_events]
        placed = [one for one in prev if one is not None and one.state_sp is not None]
        if len(placed) < len(prev):
            return None
        if not prev:
            return StatePoint(0) if event.type == CREATE[0] else None
        points = [self._after(stored) for stored in placed]
        states = self.arrivals.states
        return self._short(await states.resolved(self.conn, self.intake.head.room, points))

    def _after(self, stored: StoredEvent) -> StatePoint:
        return self._short(point_after(stored, self.intake.overlays))

    def _short(self, point: StatePoint) -> StatePoint:
        """Without differences that are none."""
        if point.sp != self.base_sp:
            return point
        same = [key for key, nid in point.overlay.items() if nid is not None and self.line.get(key) == nid]
        return StatePoint(point.sp, {k: nid for k, nid in point.overlay.items() if k not in same})

    async def _refusal(
        self, arrival: Arrival, stored: StoredEvent, auth: Sequence[StoredEvent], before: StatePoint
    ) -> Rejected | None:
        """Checks 4 and 5 [ss "Checks performed on receipt of a PDU"]."""
        if stored.status == REJECTED:
            return Rejected(4, "was rejected before")
        refused = None if arrival.event.is_state else by_auth_events(self.intake.head, arrival, auth)
        if refused is not None:
            return refused
        state = await self._state(arrival.event, before)
        return check_by_state_before(arrival.event, state, authorizer_signed=arrival.authorizer_signed)

    async def _state(self, event: Event, point: StatePoint) -> AuthState:
        room, keys = self.intake.head.room, judging(event)
        if point.sp not in (0, self.base_sp):
            found = await self.arrivals.states.events_at(self.conn, room, point, keys)
            return AuthState({key: stored.event for key, stored in found.items()}, room.version)
        line = self.line if point.sp else {}
        numbers = {key: self.keys[key] for key in keys if key in self.keys}
        nids = {key: point.overlay.get(number, line.get(number)) for key, number in numbers.items()}
        unloaded = {nid for nid in nids.values() if nid is not None} - self.entries.keys()
        if unloaded:
            self.entries |= await self.arrivals.states.reader.by_nids(self.conn, unloaded)
        state = {key: self.entries[nid].event for key, nid in nids.items() if nid is not None}
        return AuthState(state, room.version)

    async def _write(
        self,
        arrival: Arrival,
        stored: StoredEvent,
        before: StatePoint,
        auth: Sequence[StoredEvent],
        rejection: str | None,
    ) -> None:
        event, intake, index = arrival.event, self.intake, len(self.rows)
        prev = [one for i in event.prev_events if (one := intake.known.get(i)) is not None]
        placed = [one for one in prev if one.state_sp is not None]
        if before.overlay:
            # Its number is known once it is written; until then any that nobody else has will do.
            stored = evolve(stored, overlay_nid=-stored.nid)
            intake.overlays[-stored.nid] = before
        sender_nid = intake.senders[event.sender]
        self.rows.append(
            event_row(
                stored,
                sender_nid,
                prev_nids=tuple(one.nid for one in placed),
                auth_nids=tuple(one.nid for one in auth),
                json=arrival.json,
                rejection=rejection,
            )
        )
        self.points.append(before)
        have = {one.event.event_id for one in placed}
        self.missing += ((event_id, stored.nid) for event_id in event.prev_events if event_id not in have)
        intake.known[event.event_id] = stored
        if stored.key_nid is not None:
            self.entries[stored.nid] = stored
        if rejection is None:
            self.relations += relation_rows(stored, sender_nid, index)
            rows, _ = await Redactions(self.arrivals.timeline.heads).of_arrival(
                self.conn, intake.head, stored, known=intake.known, earlier=intake.redactions
            )
            self.redactions += rows


def _leading_to(wanted: Collection[str], taken: Mapping[str, Event]) -> set[str]:
    """Those of the events that are wanted, or from which a chain of previous events leads there."""
    found: set[str] = set()
    frontier = [event_id for event_id in wanted if event_id in taken]
    while frontier:
        event_id = frontier.pop()
        if event_id not in found:
            found.add(event_id)
            frontier += [parent for parent in taken[event_id].prev_events if parent in taken]
    return found
