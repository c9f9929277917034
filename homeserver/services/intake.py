"""What one step of a room takes up of other servers' events: judged one after the other, written together.

The head moves on with each event that is taken up, so the next one is judged against it in memory; the batch is
written when all are through, or when one needs what only the database can tell (a resolution on a fork). Until the
batch is with the committer, whoever holds the intake holds the head's lock, and drops the head if anything fails.
"""

from collections.abc import Iterable, Mapping, Sequence

from attrs import define, evolve, field, frozen

from homeserver.core.event import StateKey
from homeserver.services.event_rows import event_row, relation_rows
from homeserver.services.growth import Note, Redacted
from homeserver.services.judging import Judged, Waiting, is_unjudged
from homeserver.services.push_evaluation import Step
from homeserver.services.room_heads import Head, link_hash
from homeserver.services.room_states import point_after
from storage.events import StoredEvent
from storage.room_batches import (
    ACCEPTED,
    MEMBERSHIPS,
    EventRow,
    HeadMove,
    MembershipChange,
    NoticeRow,
    RedactionRow,
    RelationRow,
    RoomBatch,
    StateChange,
)
from storage.room_state import StatePoint
from storage.rooms import Room

GAP = 1 << 20  # positions left free where events are missing; the clock has 2^53 of them


@frozen
class Outcome:
    """What an event makes of the room: itself as stored, the extremities, the changes of the main line."""

    stored: StoredEvent
    extremities: tuple[tuple[int, str], ...]
    changes: tuple[StateChange, ...]
    entries: Mapping[StateKey, StoredEvent | None]
    sp: int


@frozen
class Effects:
    """What an accepted event does beyond the state: to our own users, to other events."""

    memberships: tuple[MembershipChange, ...] = ()
    redactions: tuple[RedactionRow, ...] = ()
    redacted: tuple[Redacted, ...] = ()


@define(eq=False)
class Intake:
    """A step in the making. `known` has every event that is named in it and exists, of this step or before.

    `elsewhere`: names in it that stand for events of other rooms.
    """

    head: Head
    known: dict[str, StoredEvent]
    senders: Mapping[str, int]  # user id -> number
    redactions: Mapping[str, Sequence[StoredEvent]]  # redactions that were here before what they redact
    elsewhere: frozenset[str] = frozenset()
    new_room: Room | None = None
    overlays: dict[int, StatePoint] = field(factory=dict)
    expected: int = field(init=False)
    has_past: bool = field(init=False)  # is there a timeline that the step goes on with?
    events: list[StoredEvent] = field(factory=list, init=False)  # of the timeline
    _rows: list[EventRow] = field(factory=list, init=False)
    _changes: list[StateChange] = field(factory=list, init=False)
    _memberships: list[MembershipChange] = field(factory=list, init=False)
    _relations: list[RelationRow] = field(factory=list, init=False)
    _redactions: list[RedactionRow] = field(factory=list, init=False)
    _redacted: list[Redacted] = field(factory=list, init=False)
    _missing: list[tuple[str, int]] = field(factory=list, init=False)
    _reserve: int = field(default=0, init=False)
    _outliers: list[int] = field(factory=list, init=False)
    _relayed: list[int] = field(factory=list, init=False)
    fresh: dict[int, StoredEvent] = field(factory=dict, init=False)  # what is not written yet, by number
    deferred: bool = field(
        default=False, init=False
    )  # is it still to be seen what forks make of the main line?
    deferred_keys: set[StateKey] = field(factory=set, init=False)  # that these forks set
    _touched: dict[StateKey, int] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.expected, self.has_past = self.head.version, bool(self.head.extremities)

    @property
    def pending(self) -> bool:
        """Is anything not written yet?"""
        return bool(self._rows)

    @property
    def line_moved(self) -> bool:
        """Has the main line moved by what is not written yet?"""
        return bool(self._changes)

    @property
    def current(self) -> StatePoint:
        """The room's current state as far as the step has come."""
        return StatePoint(self.head.sp)

    def points_after(self, events: Iterable[StoredEvent]) -> list[StatePoint]:
        """The state after each of several events whose overlays have been loaded."""
        return [point_after(event, self.overlays) for event in events]

    def links(self, judged_prev: Sequence[str], named_auth: Sequence[str]) -> Waiting | None:
        """What of an event's previous and auth events is not known; outliers are no previous events.

        Nor does it count as known what came before its room was known: nobody has judged it.
        """
        prev = frozenset(i for i in judged_prev if (k := self.known.get(i)) is None or k.state_sp is None)
        auth = frozenset(i for i in named_auth if (k := self.known.get(i)) is None or is_unjudged(k))
        return Waiting(prev, auth) if prev or auth else None

    def take_up(self, judged: Judged, outcome: Outcome, effects: Effects) -> None:
        """The event is part of the step, and the head what it makes of it."""
        stored, arrival, index = outcome.stored, judged.arrival, len(self._rows)
        accepted = stored.status == ACCEPTED
        self.add_row(
            stored,
            arrival.json,
            prev=judged.prev,
            auth=judged.auth,
            rejection=None if accepted else str(getattr(judged.verdict, "reason", "")),
        )
        self._changes += outcome.changes
        self._redactions += effects.redactions
        self._redacted += effects.redacted
        self._memberships += (evolve(change, event_index=index) for change in effects.memberships)
        if accepted:
            self.events.append(stored)
            self._relations += relation_rows(stored, self.senders[stored.event.sender], index)
        if arrival.relay and accepted:
            self._relayed.append(stored.nid)
        self._move(outcome, effects)

    def add_row(
        self,
        stored: StoredEvent,
        json: bytes,
        *,
        prev: Sequence[StoredEvent],
        auth: Sequence[StoredEvent],
        rejection: str | None,
    ) -> None:
        """Write the event, whatever it is to the room; it takes the place of an outlier of the same number."""
        event = stored.event
        before = self.known.get(event.event_id)
        if before is not None:
            self._outliers.append(before.nid)
        self.known[event.event_id] = self.fresh[stored.nid] = stored
        self.head.version = stored.nid
        self._rows.append(
            event_row(
                stored,
                self.senders[event.sender],
                prev_nids=tuple(one.nid for one in prev),
                auth_nids=tuple(one.nid for one in auth),
                json=json,
                rejection=rejection,
            )
        )

    def move_line(
        self,
        changes: Sequence[StateChange],
        entries: Mapping[StateKey, StoredEvent | None],
        memberships: Sequence[MembershipChange],
    ) -> None:
        """The main line moves with the step's last event, whichever of its events has caused it."""
        last, sp = self.events[-1], changes[-1].sp
        index = next(i for i, row in enumerate(self._rows) if row.event_nid == last.nid)
        self._rows[index] = evolve(self._rows[index], line_sp=sp)
        moved = evolve(last, line_sp=sp)
        self.events[-1] = self.known[last.event.event_id] = self.fresh[last.nid] = moved
        self._changes += changes
        self._memberships += (evolve(change, event_index=index) for change in memberships)
        self.head.sp = sp
        self._set(entries)

    def miss(self, event_ids: Iterable[str], wanted_by: int) -> None:
        """Remember what a written event points at and we cannot get: a backward extremity.

        It is the step's only event. Where the room has a timeline before it, room is left between the two.
        """
        self._missing += ((event_id, wanted_by) for event_id in event_ids)
        self._reserve = GAP if self._missing and self.has_past else 0

    @property
    def step(self) -> Step:
        """What push rules are evaluated for."""
        return Step(self._rows, self.events, self._memberships)

    def batch(self, notices: tuple[NoticeRow, ...] = ()) -> RoomBatch:
        """What is to be written; the step goes on behind it."""
        head = self.head
        batch = RoomBatch(
            head=HeadMove(
                room_nid=head.room.nid,
                expected=self.expected,
                version=head.version,
                extremities=tuple(nid for nid, _ in head.extremities),
                depth=head.depth,
                sp=head.sp,
                chains=head.chains,
                joined=head.joined,
                invited=head.invited,
            ),
            events=tuple(self._rows),
            new_room=self.new_room,
            reserve=self._reserve,
            state=tuple(self._changes),
            memberships=tuple(self._memberships),
            relations=tuple(self._relations),
            redactions=tuple(self._redactions),
            missing=tuple(self._missing),
            found=tuple(row.event_id for row in self._rows if row.state_sp is not None),
            outliers=tuple(self._outliers),
            relayed=tuple(self._relayed),
            notices=notices,
            note=Note(tuple(self.events), tuple(self._memberships), tuple(self._redacted)),
        )
        self.expected, self.new_room, self._reserve = head.version, None, 0
        self.events, self._rows, self._changes, self._memberships, self._relations = [], [], [], [], []
        self._redactions, self._redacted, self._missing, self._outliers, self._relayed = [], [], [], [], []
        self.fresh = {}
        return batch

    def settle(self) -> None:
        """All that was taken up is written: what the head holds can be forgotten and read again."""
        for key, nid in self._touched.items():
            if self.head.unwritten.get(key) == nid:
                del self.head.unwritten[key]
        self._touched.clear()

    def _move(self, outcome: Outcome, effects: Effects) -> None:
        head, stored = self.head, outcome.stored
        head.sp, head.extremities = outcome.sp, outcome.extremities
        if stored.status == ACCEPTED:
            head.depth = max(head.depth, stored.event.depth)
        if head.room.version.event_id_in_pdu:
            hashes = {**head.hashes, stored.event.event_id: link_hash(stored.event)}
            head.hashes = {event_id: hashes[event_id] for _, event_id in head.extremities}
        self._set(outcome.entries)
        head.redact([redacted.target for redacted in effects.redacted])

    def _set(self, entries: Mapping[StateKey, StoredEvent | None]) -> None:
        head = self.head
        for key, entry in entries.items():
            head.joined += _counts(entry, "join") - _counts(head.state[key], "join")
            head.invited += _counts(entry, "invite") - _counts(head.state[key], "invite")
            head.state[key] = entry
            head.unwritten[key] = self._touched[key] = 0 if entry is None else entry.nid


def membership_of(entry: StoredEvent | None) -> int | None:
    """The number of the membership that a state entry tells."""
    if entry is None or entry.event.type != "m.room.member":
        return None
    return MEMBERSHIPS.get(entry.event.membership or "")


def _counts(entry: StoredEvent | None, membership: str) -> bool:
    is_member = entry is not None and entry.event.type == "m.room.member"
    return is_member and entry is not None and entry.event.membership == membership
