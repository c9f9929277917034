"""Extremities, depth, order and gaps of the event graph."""

import random

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.core.dag import Arrival, Standing, forward_extremities, gaps, next_depth, topological
from homeserver.core.room_versions import V1, V5, V6, V12
from tests.kit.room_builder import ALICE, BOB, CHARLIE, Links, RoomBuilder

REJECTED, SOFT = Standing.REJECTED, Standing.SOFT_FAILED


def after(current: set[str], *arrivals: Arrival, hidden: dict[str, list[str]] | None = None) -> set[str]:
    return set(forward_extremities(current, arrivals, hidden=hidden or {}))


def test_an_event_takes_the_place_of_those_it_follows() -> None:
    assert after({"a"}, Arrival("b", ("a",))) == {"b"}
    assert after({"a", "b"}, Arrival("c", ("a", "b"))) == {"c"}
    assert after({"a", "b"}, Arrival("c", ("a",))) == {"b", "c"}
    assert after({"c"}, Arrival("d", ("b",))) == {"c", "d"}  # a fork from further back


def test_a_batch_counts_as_one_after_the_other() -> None:
    assert after({"a"}, Arrival("b", ("a",)), Arrival("c", ("b",)), Arrival("d", ("a",))) == {"c", "d"}


@pytest.mark.parametrize("standing", [REJECTED, SOFT])
def test_hidden_events_are_no_extremities_and_end_none(standing: Standing) -> None:
    assert after({"a"}, Arrival("x", ("a",), standing)) == {"a"}


@pytest.mark.parametrize("standing", [REJECTED, SOFT])
def test_what_follows_a_hidden_event_follows_what_is_behind_it(standing: Standing) -> None:
    assert after({"a"}, Arrival("b", ("x",)), hidden={"x": ["y"], "y": ["a"]}) == {"b"}
    assert after({"a"}, Arrival("x", ("a",), standing), Arrival("b", ("x",))) == {"b"}


def test_a_latecomer_that_is_pointed_at_already_is_no_extremity() -> None:
    arrival = Arrival("b", ("a",))
    assert forward_extremities({"c"}, [arrival], pointed_at={"b"}, hidden={}) == {"c"}


@given(seed=st.integers(0, 2**64))
@settings(max_examples=100, deadline=None)
def test_extremities_do_not_depend_on_the_batches(seed: int) -> None:
    """However events in topological order are cut into batches, the tips are those of the graph."""
    rng = random.Random(seed)
    arrivals = []
    for n in range(rng.randrange(1, 30)):
        parents = rng.sample(range(n), min(n, rng.randrange(1, 4)))
        standing = rng.choice([Standing.ACCEPTED] * 4 + [SOFT, REJECTED])
        arrivals.append(Arrival(str(n), tuple(map(str, parents)), standing))
    tips: frozenset[str] = frozenset()
    start = 0
    hidden: dict[str, tuple[str, ...]] = {}
    while start < len(arrivals):
        end = start + rng.randrange(1, 5)
        tips = forward_extremities(tips, arrivals[start:end], hidden=hidden)
        hidden |= {
            event.event_id: event.prev_events for event in arrivals[start:end] if event.standing.hidden
        }
        start = end
    assert tips == forward_extremities((), arrivals, hidden={})
    assert all(not arrivals[int(tip)].standing.hidden for tip in tips)


@pytest.mark.parametrize(
    ("version", "depths", "depth"),
    [
        (V12, [], 1),
        (V12, [3, 7, 5], 8),
        (V6, [2**53 - 1], 2**53 - 1),  # stays at the limit
        (V6, [2**53 - 2], 2**53 - 1),
        (V5, [2**53 - 1], 2**53),
        (V1, [2**63 - 1], 2**63 - 1),
    ],
)
def test_depth(version, depths, depth) -> None:
    assert next_depth(depths, version) == depth


@pytest.mark.parametrize("version", [V1, V12])
def test_a_batch_is_sorted_by_what_it_points_at(version) -> None:
    room = RoomBuilder(version).public(ALICE, {BOB: 50})
    left, right = room.fork(), room.fork()
    left.join(BOB)
    right.topic(ALICE, "spring")
    right.join(CHARLIE)
    room.merge(left, right).message(BOB)
    for seed in range(20):
        batch = list(room.events.values())
        random.Random(seed).shuffle(batch)
        result = topological(batch)
        seen: set[str] = set()
        for event in result.order:
            assert seen.issuperset(event.prev_events)
            assert seen.issuperset(event.auth_events)
            seen.add(event.event_id)
        assert [event.event_id for event in result.order] == [
            e.event_id for e in topological(batch[::-1]).order
        ]
        assert not result.circular


def test_chosen_ids_can_make_a_circle() -> None:
    room = RoomBuilder(V1).public(ALICE)
    first = room.draft(ALICE, "m.room.message", {"body": "1"})
    second = room.draft(ALICE, "m.room.message", {"body": "2"})
    pair = [
        evolve(first, prev_events=(second.event_id,)),
        evolve(second, prev_events=(first.event_id,)),
    ]
    result = topological([*room.events.values(), *pair])
    assert len(result.order) == len(room.events)
    assert {event.event_id for event in result.circular} == {first.event_id, second.event_id}


@pytest.mark.parametrize("version", [V6, V12])
def test_gaps(version) -> None:
    room = RoomBuilder(version).public(ALICE)
    create = next(iter(room.events))
    rules = room.last.event_id
    one = room.message(ALICE)
    two = room.message(ALICE)
    missing = gaps([two], {one.event_id})
    assert not missing.prev_events
    assert create in missing.auth_events  # implied by the room id in v12
    missing = gaps([one, two], set(one.auth_events) | {create})
    assert missing.prev_events == {rules}
    assert not missing.auth_events
    assert missing
    assert not gaps(list(room.events.values()), set())


def test_gaps_name_links_out_of_nowhere() -> None:
    room = RoomBuilder(V6).public(ALICE)
    stray = room.draft(ALICE, "m.room.message", {}, links=Links(prev=["$nowhere"], auth=["$nobody"]))
    assert gaps([stray], set(room.events)).prev_events == {"$nowhere"}
    assert gaps([stray], set(room.events)).auth_events == {"$nobody"}
