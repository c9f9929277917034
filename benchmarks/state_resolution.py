"""What the resolution of a fork costs in large and small rooms: `python -m benchmarks.state_resolution`.

The pure part alone: no storage, but counting what storage would be asked for. A room of N members forks; on each
branch some of them change their profiles, so that so many entries of the state differ. The cost has to follow the
differences and not the members.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from attrs import define, field

from homeserver.core.event import Event, StateKey
from homeserver.core.room_versions import V11, V12, RoomVersion, StateResolution
from homeserver.core.state_resolution import chain_cover
from homeserver.core.state_resolution.chain_cover import (
    Band,
    Links,
    LinkTargets,
    MissingPlaces,
    Newcomer,
    Place,
    Placement,
)
from homeserver.core.state_resolution.graph import cited
from homeserver.core.state_resolution.inputs import Conflict, Known, Missing
from homeserver.core.state_resolution.resolve import resolve
from tests.kit.room_builder import ALICE, RoomBuilder
from tests.kit.room_builder import Links as Pointers

T = TypeVar("T")
POWER_CHANGES = 22  # as a large public room has them
POWER_LINE = 64  # how many power levels events are loaded at once


@define
class LargeRoom:
    """A room and its cover, built without ever copying its state."""

    builder: RoomBuilder
    state: dict[StateKey, Event] = field(factory=dict)
    placements: dict[str, Placement] = field(factory=dict)
    event_at: dict[Place, Event] = field(factory=dict)
    tips: dict[int, int] = field(factory=dict)
    targets: LinkTargets = field(factory=LinkTargets)

    @property
    def events(self) -> dict[str, Event]:
        return self.builder.events

    def send(self, sender: str, kind: str, state_key: str, content: dict[str, object]) -> Event:
        """One more entry of the state."""
        event = self.branch(sender, kind, state_key, content)
        old = self.state.get(event.key)
        if old is not None:
            self.targets.remove(self.placements[old.event_id].links)
        self.targets.add(self.placements[event.event_id].links)
        self.state[event.key] = event
        return event

    def branch(self, sender: str, kind: str, state_key: str, content: dict[str, object]) -> Event:
        """An event on top of the state, which does not enter it."""
        keys: list[StateKey] = [("m.room.power_levels", ""), ("m.room.member", sender)]
        keys += [] if self.builder.version.room_id_is_create_hash else [("m.room.create", "")]
        keys += [("m.room.join_rules", "")] if kind == "m.room.member" else []
        auth = [self.state[key].event_id for key in keys if key in self.state]
        pointers = Pointers(prev=[], auth=auth)
        event = self.builder.draft(sender, kind, content, state_key=state_key, links=pointers)
        self.events[event.event_id] = event
        self._place(event)
        return event

    def _place(self, event: Event) -> None:
        parents = cited(event)
        same = next((parent for parent in parents if self.events[parent].key == event.key), None)
        newcomer = Newcomer(event.event_id, parents, same)
        made = chain_cover.assign([newcomer], self.placements, self.tips, lambda: len(self.tips) + 1)
        place = made[event.event_id].place
        self.placements.update(made)
        self.event_at[place] = event
        self.tips[place.chain] = place.seq


@define
class Meter:
    """Loads what resolution asks for, and counts it."""

    room: LargeRoom
    links: dict[Place, Links] = field(factory=dict)
    rows: dict[int, dict[int, Links]] = field(factory=dict)
    known: Known = field(factory=lambda: Known({}, {}))
    rounds: int = 0
    keys: int = 0

    def places(self, function: Callable[[], T]) -> T:
        while True:
            try:
                return function()
            except MissingPlaces as missing:
                self.rounds += 1
                self.links |= {place: self._links(place) for place in missing.places}
                for chain, upto in missing.chains:
                    self.rows[chain] = {n: self._links(Place(chain, n)) for n in range(1, upto + 1)}

    def resolved(self, conflict: Conflict) -> dict[StateKey, str | None]:
        events, unconflicted = self.room.events, self.room.state
        while True:
            try:
                return resolve(conflict, self.known)
            except Missing as missing:
                self.rounds += 1
                self.keys += len(missing.keys)
                wanted = missing.event_ids.union(*map(self._line_below, missing.event_ids))
                more = {event_id: events[event_id] for event_id in wanted}
                keys = {k: unconflicted[k].event_id if k in unconflicted else None for k in missing.keys}
                self.known = Known({**self.known.events, **more}, {**self.known.unconflicted, **keys})

    def _line_below(self, event_id: str) -> list[str]:
        """Power levels come with those below them in their chain."""
        if self.room.events[event_id].type != "m.room.power_levels":
            return []
        chain, upto = self.room.placements[event_id].place
        lowest = max(1, upto - POWER_LINE)
        return [self.room.event_at[Place(chain, n)].event_id for n in range(lowest, upto + 1)]

    def _links(self, place: Place) -> Links:
        return self.room.placements[self.room.event_at[place].event_id].links


def large_room(version: RoomVersion, members: int) -> LargeRoom:
    """Creator, power levels changed some times on the way, join rules, and members."""
    room = LargeRoom(RoomBuilder(version))
    creator = {} if version.create_names_creator is False else {"creator": ALICE}
    create = room.send(ALICE, "m.room.create", "", creator)
    room.builder.room_id = create.room_id
    room.send(ALICE, "m.room.member", ALICE, {"membership": "join"})
    admins = {} if version.privileged_creators else {ALICE: 100}
    room.send(ALICE, "m.room.power_levels", "", {"users": admins})
    room.send(ALICE, "m.room.join_rules", "", {"join_rule": "public"})
    for number in range(members):
        if number % (members // POWER_CHANGES) == 0:
            users = {**admins, f"@m{number}:b.example": 50}
            room.send(ALICE, "m.room.power_levels", "", {"users": users})
        room.send(f"@m{number}:b.example", "m.room.member", f"@m{number}:b.example", {"membership": "join"})
    return room


def fork(room: LargeRoom, differences: int) -> list[dict[StateKey, Event]]:
    """Two branches: on each, half of the users change their names."""
    branches: list[dict[StateKey, Event]] = [{}, {}]
    for number in range(differences):
        user = f"@m{number}:b.example"
        content: dict[str, object] = {"membership": "join", "displayname": f"{differences} {number}"}
        event = room.branch(user, "m.room.member", user, content)
        branches[number % 2][event.key] = event
    return branches


def measure(room: LargeRoom, differences: int) -> str:
    """One line of the table."""
    branches = fork(room, differences)
    keys = branches[0].keys() | branches[1].keys()
    states = [{key: branch.get(key, room.state[key]) for key in keys} for branch in branches]
    meter = Meter(room)
    started = time.perf_counter()
    difference = _difference(room, states, meter)
    covered = time.perf_counter()
    ids = {key: frozenset(state[key].event_id for state in states) for key in keys}
    resolved = meter.resolved(Conflict(room.builder.version, ids, difference))
    ended = time.perf_counter()
    assert resolved.keys() == keys
    read = f"{len(meter.known.events):8}{meter.keys:6}{len(meter.links):8}{meter.rounds:8}"
    return f"{1000 * (covered - started):10.1f}{1000 * (ended - covered):10.1f}{len(difference):12}{read}"


def _difference(room: LargeRoom, states: list[dict[StateKey, Event]], meter: Meter) -> set[str]:
    places = [[room.placements[event.event_id].place for event in state.values()] for state in states]
    reaches = [
        meter.places(lambda starts=starts: chain_cover.reach(starts, meter.links)) for starts in places
    ]
    unconflicted = room.targets.copy()
    for key in states[0]:
        unconflicted.remove(room.placements[room.state[key].event_id].links)
    starts = [*unconflicted.furthest(), *_own_places(room, reaches, states[0])]
    common = meter.places(lambda: chain_cover.reach(starts, meter.links))
    bands = chain_cover.auth_difference(reaches, common)
    if room.builder.version.state_resolution is StateResolution.V2_1:
        below = chain_cover.union(reaches)
        conflicted = [place for some in places for place in some]
        bands += meter.places(
            lambda: chain_cover.conflicted_subgraph(conflicted, below, meter.links, meter.rows)
        )
    return {event.event_id for band in bands for event in _in(room, band)}


def _own_places(
    room: LargeRoom, reaches: list[dict[int, int]], conflicted: dict[StateKey, Event]
) -> list[Place]:
    """The places of the unconflicted entries whose chains the conflict touches."""
    keys = {room.event_at[Place(chain, 1)].key for reach in reaches for chain in reach}
    entries = [room.state[key] for key in keys if key in room.state and key not in conflicted]
    return [room.placements[entry.event_id].place for entry in entries]


def _in(room: LargeRoom, band: Band) -> list[Event]:
    return [room.event_at[Place(band.chain, n)] for n in range(band.above + 1, band.upto + 1)]


def main() -> None:
    """Print the table."""
    head = "version members differ  cover ms replay ms  difference  events  keys   links  rounds"
    print(head)
    for version in (V11, V12):
        for members in (2_000, 28_000):
            room = large_room(version, members)
            targets = len(room.targets.counts)
            for differences in (10, 1_000):
                print(f"{version.name:>7}{members:8}{differences:7}{measure(room, differences)}")
            print(f"        distinct link targets of the state: {targets}")


if __name__ == "__main__":
    main()
