"""Checks 4 to 7 on receipt of a PDU: an event of another server against the states that it claims and meets."""

from collections.abc import Mapping, Sequence

from attrs import evolve, field, frozen

from homeserver.core.auth.selection import auth_state_keys
from homeserver.core.auth.state import CREATE, AuthState
from homeserver.core.event import Event, StateKey
from homeserver.core.hashing import canonical_bytes, content_hash_holds
from homeserver.core.receipt_checks import (
    Accepted,
    Rejected,
    SoftFailed,
    Verdict,
    check_by_auth_events,
    check_by_current_state,
    check_by_state_before,
)
from homeserver.services.placement import is_placed
from homeserver.services.room_heads import Head, RoomHeads
from homeserver.services.room_states import NOTHING_UNWRITTEN, RoomStates
from storage.database import Connection
from storage.events import StoredEvent
from storage.room_batches import ACCEPTED, OUTLIER, REJECTED, SOFT_FAILED
from storage.room_state import StatePoint

Judgement = Accepted | Rejected | SoftFailed


@frozen
class Arrival:
    """An event that has passed checks 1 to 3, with the bytes it came in (redacted where its hash did not hold).

    `relay`: it came to us as the server through which its sender enters or leaves, so we tell the others.
    `recommended`: by the policy server, where the room uses one (check 7).
    """

    event: Event
    json: bytes = field(repr=False)
    authorizer_signed: bool = True
    relay: bool = False
    recommended: bool = True


@frozen
class Waiting:
    """Not judged yet: these events are unknown here."""

    prev_events: frozenset[str]
    auth_events: frozenset[str]


@frozen
class Judged:
    """An event with its verdict and the state before it; `at_current`: that is the room's current state."""

    arrival: Arrival
    verdict: Judgement
    before: StatePoint
    at_current: bool
    prev: tuple[StoredEvent, ...]
    auth: tuple[StoredEvent, ...]

    @property
    def status(self) -> int:
        if isinstance(self.verdict, Accepted):
            return ACCEPTED
        return REJECTED if isinstance(self.verdict, Rejected) else SOFT_FAILED


@frozen
class Ground:
    """What an event stands on. `unwritten`: events, by number, that the state before it has and storage has not yet."""

    before: StatePoint
    prev: Sequence[StoredEvent]
    auth: Sequence[StoredEvent]
    behind_gap: bool = False
    unwritten: Mapping[int, StoredEvent] = NOTHING_UNWRITTEN


@frozen
class Judge:
    """Holds events against their auth events, the state before them and the current state."""

    heads: RoomHeads
    states: RoomStates

    async def judge(self, conn: Connection, head: Head, arrival: Arrival, ground: Ground) -> Judged:
        """The verdict of checks 4 to 7. The main line must be written as far as `ground` stands on it.

        Behind a gap our current state may be long out of date; but gaps are easily made up. There the event is held
        against what our state and the one before the event resolve to.
        """
        current = StatePoint(head.sp)
        at_current = ground.before == current
        if ground.behind_gap:
            current = await self.states.resolved(conn, head.room, [current, ground.before])
        verdict = await self._verdict(conn, head, arrival, ground, current)
        if isinstance(verdict, Accepted) and not arrival.recommended:
            verdict = SoftFailed(7, "no valid signature of the room's policy server")
        elif isinstance(verdict, Accepted) and await self._redacts_elsewhere(conn, head, arrival.event):
            verdict = SoftFailed(6, "redacts an event of another room")
        return Judged(arrival, verdict, ground.before, at_current, tuple(ground.prev), tuple(ground.auth))

    async def _redacts_elsewhere(self, conn: Connection, head: Head, event: Event) -> bool:
        """A redaction that never can take effect is sent to nobody [rooms/v3 "Handling redactions"]."""
        if event.redacts is None:
            return False
        target = await self.heads.reader.by_id(conn, event.redacts)
        return target is not None and target.room.nid != head.room.nid

    async def _verdict(
        self, conn: Connection, head: Head, arrival: Arrival, ground: Ground, current: StatePoint
    ) -> Judgement:
        """Checks 4 to 6 [ss "Checks performed on receipt of a PDU"]."""
        event, signed = arrival.event, arrival.authorizer_signed
        keys = judging(event)
        await self.heads.ensure(head, [*keys, CREATE])
        rejected = by_auth_events(head, arrival, ground.auth)
        if rejected is not None:
            return rejected
        state = await self._state(conn, head, ground.before, keys, ground.unwritten)
        rejected = check_by_state_before(event, state, authorizer_signed=signed)
        if rejected is not None or ground.before == current:
            return rejected or Accepted()  # where both states are the same, check 6 repeats check 5
        state = await self._state(conn, head, current, keys, ground.unwritten)
        return check_by_current_state(event, state, authorizer_signed=signed) or Accepted()

    async def _state(
        self,
        conn: Connection,
        head: Head,
        point: StatePoint,
        keys: Sequence[StateKey],
        unwritten: Mapping[int, StoredEvent],
    ) -> AuthState:
        """The state of `keys`, which the head has loaded, at a point."""
        if point == StatePoint(head.sp):
            return AuthState(head.events(keys), head.room.version)
        found = await self.states.events_at(conn, head.room, point, keys, unwritten)
        return AuthState({key: stored.event for key, stored in found.items()}, head.room.version)


def by_auth_events(head: Head, arrival: Arrival, auth: Sequence[StoredEvent]) -> Rejected | None:
    """Check 4, with the create event of the head, which must have been loaded."""
    return check_by_auth_events(
        arrival.event,
        [stored.event for stored in auth],
        rejected={stored.event.event_id for stored in auth if stored.status == REJECTED},
        create=head.event(CREATE),
        authorizer_signed=arrival.authorizer_signed,
    )


def as_first_told(arrival: Arrival, outlier: StoredEvent | None) -> Arrival:
    """An outlier that comes again: others were judged by what it said, so nobody may take that from it later.

    A copy whose hash does not hold is redacted, under the same id; until v2 it can say anything, as ids are chosen.
    """
    version = arrival.event.version
    if outlier is None or not (version.event_id_in_pdu or not content_hash_holds(arrival.event.pdu, version)):
        return arrival
    return evolve(arrival, event=outlier.event, json=canonical_bytes(outlier.event.pdu, version))


def is_unjudged(stored: StoredEvent) -> bool:
    """Did the event come with an invitation or a knock of ours, when nothing else of its room was known?"""
    return stored.status == OUTLIER and stored.chain is None and is_placed(stored.event)


def judging(event: Event) -> tuple[StateKey, ...]:
    """The keys of the state by which the event is judged."""
    return auth_state_keys(event.type, event.sender, event.state_key, event.content, event.version)


def verdict_of(known: StoredEvent) -> Verdict:
    """What became of an event that was judged before."""
    if known.status == REJECTED:
        return Rejected(4, "was rejected before")
    if known.status == SOFT_FAILED:
        return SoftFailed(6, "was soft-failed before")
    return Accepted()
