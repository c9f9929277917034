"""A server in miniature: receives a room's events in any order and works out its state on differences.

It parks what it cannot judge yet, rejects what the rules reject, places events in the chain cover as they come, and
gives resolution only what that asks for, so it takes the road a real server takes, without storage.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from attrs import define, field

from homeserver.core.auth.rejection import Rejected
from homeserver.core.auth.rules import check_auth
from homeserver.core.auth.state import AuthState
from homeserver.core.dag import Arrival, Standing, forward_extremities
from homeserver.core.event import Event, StateKey
from homeserver.core.room_versions import RoomVersion, StateResolution
from homeserver.core.state_resolution import chain_cover
from homeserver.core.state_resolution.chain_cover import (
    Band,
    Links,
    MissingPlaces,
    Newcomer,
    Place,
    Placement,
)
from homeserver.core.state_resolution.graph import cited
from homeserver.core.state_resolution.inputs import Conflict, Known, Missing
from homeserver.core.state_resolution.resolve import resolve

State = dict[StateKey, str]
T = TypeVar("T")
PLACED = {
    f"m.room.{kind}" for kind in ("create", "member", "power_levels", "join_rules", "third_party_invite")
}


@define
class SmallCover:
    """The chain cover of one room, in memory, which counts what is asked for."""

    placements: dict[str, Placement] = field(factory=dict)
    event_at: dict[Place, str] = field(factory=dict)
    tips: dict[int, int] = field(factory=dict)
    rounds: int = 0
    rows_read: int = 0

    def place(self, event: Event, events: dict[str, Event]) -> None:
        if not event.is_state or event.type not in PLACED:
            return
        parents = cited(event)
        same = [parent for parent in parents if events[parent].key == event.key]
        newcomer = Newcomer(event.event_id, parents, same[0] if same else None)
        made = chain_cover.assign([newcomer], self.placements, self.tips, lambda: len(self.tips) + 1)
        place = made[event.event_id].place
        self.placements.update(made)
        self.event_at[place] = event.event_id
        self.tips[place.chain] = place.seq

    def standing(self, event: Event) -> list[Place]:
        """The event's place, or the places that it stands on."""
        ids = [event.event_id] if event.event_id in self.placements else cited(event)
        return [self.placements[event_id].place for event_id in ids]

    def difference(
        self, version: RoomVersion, conflicted: Sequence[Sequence[Event]], common: Sequence[Event]
    ) -> set[str]:
        """The auth difference, and the conflicted subgraph where the version has one."""
        links: dict[Place, Links] = {}
        rows: dict[int, dict[int, Links]] = {}

        def reach(events: Sequence[Event]) -> dict[int, int]:
            starts = [place for event in events for place in self.standing(event)]
            return self._loading(lambda: chain_cover.reach(starts, links), links, rows)

        reaches = [reach(entries) for entries in conflicted]
        bands = chain_cover.auth_difference(reaches, reach(common))
        if version.state_resolution is StateResolution.V2_1:
            ids = {event.event_id for entries in conflicted for event in entries}
            places = [self.placements[event_id].place for event_id in ids if event_id in self.placements]
            below = chain_cover.union(reaches)
            bands += self._loading(
                lambda: chain_cover.conflicted_subgraph(places, below, links, rows), links, rows
            )
        return {event_id for band in bands for event_id in self._in(band)}

    def _in(self, band: Band) -> list[str]:
        return [self.event_at[Place(band.chain, seq)] for seq in range(band.above + 1, band.upto + 1)]

    def _loading(
        self, function: Callable[[], T], links: dict[Place, Links], rows: dict[int, dict[int, Links]]
    ) -> T:
        while True:
            try:
                return function()
            except MissingPlaces as missing:
                links |= {place: self._links(place) for place in missing.places}
                for chain, upto in missing.chains:
                    rows[chain] = {seq: self._links(Place(chain, seq)) for seq in range(1, upto + 1)}
                self.rounds += 1

    def _links(self, place: Place) -> Links:
        self.rows_read += 1
        return self.placements[self.event_at[place]].links


@define
class SmallServer:
    """What one server makes of the events it is sent."""

    version: RoomVersion
    events: dict[str, Event] = field(factory=dict)
    rejected: set[str] = field(factory=set)
    state_after: dict[str, State] = field(factory=dict)
    extremities: frozenset[str] = frozenset()
    parked: list[Event] = field(factory=list)
    cover: SmallCover = field(factory=SmallCover)
    rounds: int = 0

    def receive(self, event: Event) -> None:
        """Judge the event, and those that waited for it."""
        self.parked.append(event)
        while ready := [one for one in self.parked if self._complete(one)]:
            self.parked = [one for one in self.parked if one not in ready]
            for one in ready:
                self._judge(one)

    @property
    def state(self) -> State:
        """The room's current state."""
        return self.merged([self.state_after[tip] for tip in self.extremities])

    def merged(self, states: Sequence[State]) -> State:
        """One state of several, from their differences."""
        keys = {key for state in states for key in state}
        values = {key: frozenset(state.get(key) for state in states) for key in keys}
        disputed = {key: ids for key, ids in values.items() if len(ids) > 1}
        agreed: dict[StateKey, str | None] = {key: states[0][key] for key in keys - disputed.keys()}
        if disputed:
            agreed.update(self._resolved(disputed, states, agreed))
        return {key: event_id for key, event_id in agreed.items() if event_id is not None}

    def _resolved(
        self,
        disputed: dict[StateKey, frozenset[str | None]],
        states: Sequence[State],
        agreed: dict[StateKey, str | None],
    ) -> dict[StateKey, str | None]:
        entries = [[self.events[state[key]] for key in disputed if key in state] for state in states]
        common = [self.events[event_id] for event_id in agreed.values() if event_id is not None]
        v1 = self.version.state_resolution is StateResolution.V1
        difference = set() if v1 else self.cover.difference(self.version, entries, common)
        known = Known({}, {}, self.rejected)
        while True:
            try:
                return resolve(Conflict(self.version, disputed, difference), known)
            except Missing as missing:
                self.rounds += 1
                more = {event_id: self.events[event_id] for event_id in missing.event_ids}
                keys = {key: agreed.get(key) for key in missing.keys}
                known = Known({**known.events, **more}, {**known.unconflicted, **keys}, self.rejected)

    def _complete(self, event: Event) -> bool:
        return all(link in self.events for link in (*event.prev_events, *cited(event)))

    def _judge(self, event: Event) -> None:
        self.events[event.event_id] = event
        before = self.merged([self.state_after[parent] for parent in event.prev_events])
        allowed = self._allowed(event, before)
        if allowed:
            self.cover.place(event, self.events)
        else:
            self.rejected.add(event.event_id)
        enters = allowed and event.is_state
        self.state_after[event.event_id] = {**before, event.key: event.event_id} if enters else before
        standing = Standing.ACCEPTED if allowed else Standing.REJECTED
        arrival = Arrival(event.event_id, event.prev_events, standing)
        hidden = {event_id: self.events[event_id].prev_events for event_id in self.rejected}
        self.extremities = forward_extremities(self.extremities, [arrival], hidden=hidden)

    def _allowed(self, event: Event, before: State) -> bool:
        if self.rejected.intersection(event.auth_events):
            return False  # [rooms/v12 auth 3.3]
        state = {key: self.events[event_id] for key, event_id in before.items()}
        try:
            check_auth(event, AuthState(state, self.version))
        except Rejected:
            return False
        return True
