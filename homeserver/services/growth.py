"""The next events of one room, built and checked on its head, but not yet part of it.

Synchronous: everything it needs has been loaded. `Growth.add` builds one event on top of the previous one; when all
drafts of a step have passed the rules, `batch()` says what is to be written and `apply()` moves the head on. When one
is refused, nothing has happened.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from attrs import define, evolve, field, frozen

from homeserver.core.auth.rejection import Rejected
from homeserver.core.auth.rules import check_auth
from homeserver.core.auth.selection import auth_events_selection, auth_state_keys
from homeserver.core.auth.state import AuthState
from homeserver.core.canonical_json import MAX_INTEGER, NotCanonical
from homeserver.core.errors import bad_json, forbidden, too_large
from homeserver.core.event import Event, StateKey
from homeserver.core.event_build import Draft, Place, build_event
from homeserver.core.event_format import EventTooLarge
from homeserver.core.hashing import canonical_bytes
from homeserver.core.membership import JOIN
from homeserver.core.room_versions import RoomVersion
from homeserver.services.event_rows import event_row, relation_rows
from homeserver.services.identity import Identity
from homeserver.services.placement import Placements
from homeserver.services.push_evaluation import Step
from homeserver.services.room_heads import Head, link_hash
from storage.events import StoredEvent
from storage.room_batches import (
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

MAX_PREV_EVENTS = 10  # of 20 allowed [ss "PDUs"]; enough to make forks grow together
STRIPPED_STATE = tuple(  # [cs "Stripped state"]
    (f"m.room.{kind}", "")
    for kind in ("create", "name", "avatar", "topic", "join_rules", "canonical_alias", "encryption")
)


@frozen
class Once:
    """Makes a request idempotent: the same device and transaction id in the same room make one event only."""

    device_nid: int
    txn_id: str


@frozen
class Redacted:
    """An event that a redaction of this step takes effect on, in its redacted form."""

    target: StoredEvent
    redaction_nid: int


@frozen
class Note:
    """What whoever announces the commit needs to know of it."""

    events: tuple[StoredEvent, ...]
    memberships: tuple[MembershipChange, ...]
    redacted: tuple[Redacted, ...]


@frozen(kw_only=True)
class Numbered:
    """A draft with the numbers that its event will need, and what it redacts (in redacted form)."""

    draft: Draft
    nid: int
    sender_nid: int
    key_nid: int | None
    once: Once | None = None
    redacts: StoredEvent | None = None


def needed_keys(draft: Draft, head: Head, identity: Identity) -> list[StateKey]:
    """What of the room's state must be loaded before the draft can be built."""
    keys = list(judging(draft, head.room.version))
    if draft.state_key is not None:
        keys.append((draft.type, draft.state_key))
        if draft.type == "m.room.member" and identity.is_ours(draft.state_key):
            keys += [*STRIPPED_STATE, ("m.room.member", draft.sender)]
    return keys


def judging(draft: Draft, version: RoomVersion) -> Sequence[StateKey]:
    """The keys of the state by which the draft is judged."""
    return auth_state_keys(draft.type, draft.sender, draft.state_key, draft.content, version)


def naming(draft: Draft, version: RoomVersion) -> Sequence[StateKey]:
    """The keys of the events that the draft will name as its authorization."""
    return auth_events_selection(draft.type, draft.sender, draft.state_key, draft.content, version)


@define(eq=False)
class Growth:
    """A step of one room in the making."""

    head: Head
    identity: Identity
    new_room: bool = False
    _extremities: tuple[tuple[int, str], ...] = field(init=False)
    _hashes: dict[str, str] = field(init=False)
    _depth: int = field(init=False)
    _sp: int = field(init=False)
    _joined: int = field(init=False)
    _invited: int = field(init=False)
    _placements: Placements = field(init=False)
    _state: dict[StateKey, StoredEvent] = field(factory=dict, init=False)
    _events: list[StoredEvent] = field(factory=list, init=False)
    _rows: list[EventRow] = field(factory=list, init=False)
    _changes: list[StateChange] = field(factory=list, init=False)
    _memberships: list[MembershipChange] = field(factory=list, init=False)
    _relations: list[RelationRow] = field(factory=list, init=False)
    _redactions: list[RedactionRow] = field(factory=list, init=False)
    _redacted: list[Redacted] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._extremities = self.head.extremities[-MAX_PREV_EVENTS:]
        self._hashes = self.head.hashes
        self._depth, self._sp = self.head.depth, self.head.sp
        self._joined, self._invited = self.head.joined, self.head.invited
        self._placements = Placements(self.head.chains, dict(self.head.tips))

    def add(self, numbered: Numbered) -> StoredEvent:
        """Build, check and take up one event. Raises M_FORBIDDEN with the rule's reason."""
        version = self.head.room.version
        draft = numbered.draft
        if draft.room_id is None:
            draft = evolve(draft, room_id=self.head.room.room_id or None)
        entries = self._entries(naming(draft, version))
        try:
            built = build_event(draft, self._place(entries), self.identity.signer)
        except EventTooLarge as cause:
            raise too_large(str(cause)) from cause
        except NotCanonical as cause:
            raise bad_json(f"The content has no canonical form: {cause}") from cause
        cited = self._entries(judging(draft, version))
        state = {entry.event.key: entry.event for entry in cited}
        try:
            check_auth(built.event, AuthState(state, version))
        except Rejected as rejected:
            raise forbidden(rejected.reason) from rejected
        if self.new_room and not self._events:
            self.head.room = evolve(self.head.room, room_id=built.event.room_id)
        stored = self._stored(built.event, numbered, cited)
        self._rows.append(
            event_row(
                stored,
                numbered.sender_nid,
                prev_nids=tuple(nid for nid, _ in self._extremities),
                auth_nids=tuple(entry.nid for entry in entries),
                json=built.json,
            )
        )
        self._take_up(stored, numbered)
        return stored

    @property
    def events(self) -> list[Event]:
        """What the step adds so far."""
        return [stored.event for stored in self._events]

    def sign(self, signed: Event) -> None:
        """Take an event of this step in a form with more signatures."""
        for index, stored in enumerate(self._events):
            if stored.event.event_id == signed.event_id and stored.event is not signed:
                json = canonical_bytes(signed.pdu, signed.version)
                self._events[index] = evolve(stored, event=signed)
                self._rows[index] = evolve(self._rows[index], json=json)
                if signed.is_state and self._state[signed.key].nid == stored.nid:
                    self._state[signed.key] = self._events[index]

    def _place(self, auth: list[StoredEvent]) -> Place:
        version = self.head.room.version
        hashes = (
            self._hashes | {e.event.event_id: link_hash(e.event) for e in auth}
            if version.event_id_in_pdu
            else {}
        )
        return Place(
            version=version,
            prev_events=tuple(event_id for _, event_id in self._extremities),
            auth_events=tuple(entry.event.event_id for entry in auth),
            depth=min(self._depth + 1, MAX_INTEGER),
            reference_hashes=hashes,
            event_id=chosen_event_id(self.identity.server_name) if version.event_id_in_pdu else None,
        )

    @property
    def step(self) -> Step:
        """What push rules are evaluated for."""
        return Step(self._rows, self._events, self._memberships)

    def batch(self, notices: tuple[NoticeRow, ...] = ()) -> RoomBatch:
        """What is to be written for the step."""
        return RoomBatch(
            head=HeadMove(
                room_nid=self.head.room.nid,
                expected=self.head.version,
                version=self._events[-1].nid,
                extremities=tuple(nid for nid, _ in self._left_over()),
                depth=self._depth,
                sp=self._sp,
                chains=self._placements.chains,
                joined=self._joined,
                invited=self._invited,
            ),
            events=tuple(self._rows),
            new_room=self.head.room if self.new_room else None,
            state=tuple(self._changes),
            memberships=tuple(self._memberships),
            relations=tuple(self._relations),
            redactions=tuple(self._redactions),
            notices=notices,
            note=Note(tuple(self._events), tuple(self._memberships), tuple(self._redacted)),
        )

    def apply(self) -> None:
        """The step is queued for writing: the room's next event is built on it."""
        head = self.head
        head.extremities = self._left_over()
        head.hashes = {i: self._hashes[i] for _, i in head.extremities} if self._hashes else {}
        head.tips = self._placements.tips
        head.depth, head.sp, head.chains = self._depth, self._sp, self._placements.chains
        head.joined, head.invited = self._joined, self._invited
        head.version = self._events[-1].nid
        for key, entry in self._state.items():
            head.state[key] = entry
            head.unwritten[key] = entry.nid
            if entry.event.membership == JOIN and self.identity.is_ours(key[1]):
                head.ours = key
        head.redact([redacted.target for redacted in self._redacted])

    def _entries(self, keys: Sequence[StateKey]) -> list[StoredEvent]:
        return [entry for key in keys if (entry := self._entry(key)) is not None]

    def _entry(self, key: StateKey) -> StoredEvent | None:
        return self._state.get(key) or self.head.state.get(key)

    def _left_over(self) -> tuple[tuple[int, str], ...]:
        """Extremities that were too many to be named as previous events, and the newest event."""
        skipped = self.head.extremities[:-MAX_PREV_EVENTS]
        return (*skipped, *self._extremities)

    def _stored(self, event: Event, numbered: Numbered, cited: list[StoredEvent]) -> StoredEvent:
        moves = event.is_state
        stored = StoredEvent(
            nid=numbered.nid,
            room=self.head.room,
            position=None,
            event=event,
            key_nid=numbered.key_nid,
            state_sp=self._sp,
            line_sp=self._sp + moves,
            on_line=moves,
            txn_device=numbered.once.device_nid if numbered.once else None,
            txn_id=numbered.once.txn_id if numbered.once else None,
        )
        placed = self._placements.place(stored, cited) if moves else None
        if placed is None:
            return stored
        chain, seq = placed.place
        return evolve(stored, chain=chain, chain_seq=seq, chain_links=tuple(placed.links))

    def _take_up(self, stored: StoredEvent, numbered: Numbered) -> None:
        """The event becomes the room's newest one."""
        event, row = stored.event, self._rows[-1]
        if row.chain is not None:
            stored = evolve(
                stored, chain=row.chain, chain_seq=row.chain_seq, chain_links=row.chain_links or ()
            )
        self._events.append(stored)
        self._extremities = ((stored.nid, event.event_id),)
        if event.version.event_id_in_pdu:
            self._hashes = {**self._hashes, event.event_id: link_hash(event)}
        self._depth = event.depth
        self._relate(stored, numbered)
        if event.is_state:
            self._change_state(stored)

    def _change_state(self, stored: StoredEvent) -> None:
        event, key_nid = stored.event, stored.key_nid
        assert key_nid is not None
        membership = MEMBERSHIPS.get(event.membership or "") if event.type == "m.room.member" else None
        self._sp += 1
        self._changes.append(StateChange(key_nid, self._sp, stored.nid, membership))
        if membership is not None:
            self._count(event, -1, self._entry(event.key))
            self._count(event, +1, stored)
            if self.identity.is_ours(event.key[1]):
                self._memberships.append(self._membership_change(stored, membership))
        self._state[event.key] = stored

    def _count(self, event: Event, sign: int, entry: StoredEvent | None) -> None:
        membership = entry.event.membership if entry is not None else None
        self._joined += sign * (membership == "join")
        self._invited += sign * (membership == "invite")

    def _membership_change(self, stored: StoredEvent, membership: int) -> MembershipChange:
        stripped = None
        if stored.event.membership in ("invite", "knock"):
            stripped = self._stripped_state(stored.event)
        key_nid = stored.key_nid
        assert key_nid is not None
        return MembershipChange(key_nid, membership, stored.nid, len(self._events) - 1, stripped)

    def _stripped_state(self, member: Event) -> str:
        return stripped_text(member, [entry.event for entry in self._entries(stripped_of(member))])

    def _relate(self, stored: StoredEvent, numbered: Numbered) -> None:
        event, index = stored.event, len(self._events) - 1
        self._relations += relation_rows(stored, numbered.sender_nid, index)
        if event.redacts is not None:
            applies = numbered.redacts is not None
            self._redactions.append(RedactionRow(stored.nid, event.redacts, applies))
            if numbered.redacts is not None:
                self._redacted.append(Redacted(numbered.redacts, stored.nid))


def chosen_event_id(server_name: str) -> str:
    """A new event id for rooms whose events carry theirs [rooms/v1 "Event IDs"]."""
    return f"${secrets.token_urlsafe(18)}:{server_name}"


def stripped_of(member: Event) -> list[StateKey]:
    """The keys of the state that an invite or a knock shows."""
    return [*STRIPPED_STATE, ("m.room.member", member.sender)]


def stripped_text(member: Event, state: Sequence[Event]) -> str:
    """What somebody who is not in the room may know of it [cs "Stripped state"], as JSON."""
    events = [event for event in state if event.key != member.key] + [member]
    return orjson.dumps([stripped(event) for event in events]).decode()


def stripped(event: Event) -> Mapping[str, Any]:
    """A state event without what ties it into the room."""
    return {
        "type": event.type,
        "state_key": event.state_key,
        "sender": event.sender,
        "content": event.content,
    }
