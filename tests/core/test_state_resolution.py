"""State resolution: scenes with names, and any delivery order of random rooms."""

import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.core.event import Event
from homeserver.core.room_versions import ROOM_VERSIONS, V1, V2, V11, V12, RoomVersion
from homeserver.core.state_resolution import graph
from homeserver.core.state_resolution.inputs import Conflict, Known, Missing
from homeserver.core.state_resolution.resolve import conflict_of, resolve, resolve_maps
from tests.kit.lawful_room import lawful_room
from tests.kit.merged_state import merged_state
from tests.kit.room_builder import ALICE, BOB, START, Links, RoomBuilder
from tests.kit.small_server import SmallServer

SCENES = sorted((Path(__file__).parents[1] / "fixtures" / "state_resolution").glob("*.json"))
TOPIC = ("m.room.topic", "")
DELIVERIES = 6


class Scene:
    """A room told by a file: events by name, each behind others, in one room version.

    Fields of an event: `name`, `sender`, `type`, `content`; `state_key` ("" where there is none; null for a
    message); `after`: names, else the event before it; `time` in seconds.
    """

    def __init__(self, told: dict[str, Any], version: RoomVersion) -> None:
        self.room = RoomBuilder(version)
        self.by_name: dict[str, Event] = {}
        for line in told["events"]:
            self._add(line)
        self.names = {event.event_id: name for name, event in self.by_name.items()}

    def _add(self, line: dict[str, Any]) -> None:
        version, room = self.room.version, self.room
        content = dict(line["content"])
        if line["type"] == "m.room.create":
            self.by_name[line["name"]] = room.create(line["sender"])
            return
        if line["type"] == "m.room.power_levels" and version.privileged_creators:
            content["users"] = {user: level for user, level in content["users"].items() if user != ALICE}
        if "after" in line:
            room.merge(*(room.fork(self.by_name[name]) for name in line["after"]))
        ts = START + 1000 * line["time"] if "time" in line else None
        state_key = line.get("state_key", "")
        event = room.draft(line["sender"], line["type"], content, state_key=state_key, ts=ts)
        self.by_name[line["name"]] = room.append(event, rejected=line.get("rejected", False))

    def states(self, told: list[list[str]]) -> list[dict[tuple[str, str], str]]:
        events = [[self.by_name[name] for name in names] for names in told]
        return [{event.key: event.event_id for event in state} for state in events]

    def named(self, state: dict[tuple[str, str], str]) -> set[str]:
        return {self.names[event_id] for event_id in state.values()}


def cases() -> list[Any]:
    found = []
    for path in SCENES:
        told = orjson.loads(path.read_bytes())
        for outcome in told["resolved"]:
            for name in outcome["versions"]:
                found.append(pytest.param(told, ROOM_VERSIONS[name], outcome, id=f"{path.stem}-v{name}"))
    return found


@pytest.mark.parametrize(("told", "version", "outcome"), cases())
def test_scene(told: dict[str, Any], version: RoomVersion, outcome: dict[str, Any]) -> None:
    scene = Scene(told, version)
    rng = random.Random(1)
    for _ in range(DELIVERIES):
        if "states" in told:
            states = scene.states(told["states"])
            rng.shuffle(states)
            state = resolve_maps(version, states, scene.room.events)
        else:
            state = delivered(version, list(scene.room.events.values()), rng).state
        assert set(outcome["state"]) <= scene.named(state)
        assert not set(outcome.get("lost", ())) & scene.named(state)


def delivered(version: RoomVersion, events: list[Event], rng: random.Random) -> SmallServer:
    order = list(events)
    rng.shuffle(order)
    server = SmallServer(version)
    for event in order:
        server.receive(event)
    assert not server.parked
    return server


@pytest.mark.parametrize("version", ROOM_VERSIONS.values(), ids=lambda version: version.name)
@given(seed=st.integers(0, 2**64))
@settings(max_examples=30, deadline=None)
def test_any_delivery_order_gives_the_same_state(version: RoomVersion, seed: int) -> None:
    """And the road by differences and the chain cover leads where whole states and plain searches lead."""
    rng = random.Random(seed)
    room = lawful_room(version, rng, events=25)
    events = list(room.events.values())
    servers = [delivered(version, events, rng) for _ in range(3)]
    assert all(server.state == servers[0].state for server in servers)
    assert all(server.extremities == servers[0].extremities for server in servers)
    tips = [servers[0].state_after[tip] for tip in servers[0].extremities]
    assert servers[0].state == merged_state(version, tips, room.events)


@given(seed=st.integers(0, 2**64))
@settings(max_examples=60, deadline=None)
def test_the_cover_finds_the_sets_of_a_plain_search(seed: int) -> None:
    rng = random.Random(seed)
    version = rng.choice([V2, V11, V12])
    room = lawful_room(version, rng, events=30)
    server = delivered(version, list(room.events.values()), rng)
    states = [server.state_after[event_id] for event_id in rng.sample(list(server.events), 3)]
    conflict = conflict_of(version, states, server.events)
    disputed = [[server.events[s[key]] for key in conflict.states if key in s] for s in states]
    agreed = {key: event_id for key, event_id in states[0].items() if key not in conflict.states}
    found = server.cover.difference(version, disputed, [server.events[e] for e in agreed.values()])
    assert found | conflict.event_ids == conflict.difference | conflict.event_ids


def fork_over(version: RoomVersion, versions_of_levels: int) -> tuple[RoomBuilder, Conflict, dict[Any, Any]]:
    """Two topics on two branches, on top of a line of power levels."""
    room = RoomBuilder(version).public(ALICE, {BOB: 50})
    room.join(BOB)
    for level in range(versions_of_levels):
        room.power_levels(ALICE, {BOB: 50 + level, **({} if version.privileged_creators else {ALICE: 100})})
    left, right = room.fork(), room.fork()
    left.topic(ALICE, "one")
    right.topic(BOB, "two")
    right.power_levels(ALICE, {BOB: 55, **({} if version.privileged_creators else {ALICE: 100})})
    states = [left.state_ids, right.state_ids]
    return room, conflict_of(version, states, room.events), {**states[0], **states[1]}


@pytest.mark.parametrize("version", [V1, V2, V11, V12])
@pytest.mark.parametrize("line", [1, 40])
def test_little_is_asked_for_in_few_rounds(version: RoomVersion, line: int) -> None:
    """However long the line of power levels, two branches meet near its end."""
    room, conflict, state = fork_over(version, line)
    known, rounds, events = Known({}, {}), 0, 0
    while True:
        try:
            resolved = resolve(conflict, known)
            break
        except Missing as missing:
            rounds += 1
            events += len(missing.event_ids)
            more = {event_id: room.events[event_id] for event_id in missing.event_ids}
            unconflicted = {key: state.get(key) for key in missing.keys}
            known = Known({**known.events, **more}, {**known.unconflicted, **unconflicted})
    assert rounds <= 5
    assert events <= 14
    assert set(resolved) == set(conflict.states)


def test_an_absent_state_entry_is_a_conflict_since_v2_only() -> None:
    """A topic that only one branch has: version 1 keeps it unasked."""
    for version in (V1, V2, V12):
        room = RoomBuilder(version).public()
        before = room.state_ids
        topic = room.topic(ALICE, "new")
        conflict = conflict_of(version, [before, room.state_ids], room.events)
        assert conflict.states == {TOPIC: {None, topic.event_id}}
        assert resolve_maps(version, [before, room.state_ids], room.events)[TOPIC] == topic.event_id


def test_rejected_auth_events_authorize_nothing() -> None:
    """What was rejected on receipt does not step in where the state is silent [rooms/v12 "Rejected events"]."""
    room = RoomBuilder(V12).public(ALICE, {BOB: 50})
    room.join(BOB)
    left, right = room.fork(), room.fork()
    by_alice, by_bob = left.topic(ALICE, "hers"), right.topic(BOB, "his, and later")
    levels = room.state_ids[("m.room.power_levels", "")]
    states = [left.state_ids, right.state_ids]
    assert resolve_maps(V12, states, room.events)[TOPIC] == by_bob.event_id
    assert resolve_maps(V12, states, room.events, {levels})[TOPIC] == by_alice.event_id


def test_equal_states_need_nothing() -> None:
    room = RoomBuilder(V11).public()
    assert resolve_maps(V11, [room.state_ids, room.state_ids], {}) == room.state_ids
    assert resolve_maps(V11, [], {}) == {}


def test_a_mainline_that_meets_far_down() -> None:
    room = RoomBuilder(V11).public(ALICE)
    base = room.fork()
    left, right = base.fork(), base.fork()
    for level in range(5):
        left.power_levels(ALICE, {ALICE: 100, BOB: level})
    side = [right.power_levels(ALICE, {ALICE: 100, BOB: 90 + level}) for level in range(3)]
    topic = right.topic(ALICE, "on the side line")
    mainline = graph.Mainline(left.last.event_id, room.events)
    assert mainline.position(topic) == 5
    assert mainline.position(side[0]) == 5
    assert mainline.position(left.last) == 1
    assert mainline.position(left.topic(ALICE, "on top")) == 0
    stray = room.draft(ALICE, "m.room.topic", {}, state_key="", links=Links(auth=[]))
    assert mainline.position(stray) == float("inf")
    assert graph.Mainline(None, room.events).position(topic) == float("inf")
