"""Walks and sorts over the graph that `auth_events` make [rooms/v12 "State resolution", "Definitions"].

The walks are the plain searches, each event visited once; for rooms of any size `chain_cover` finds the same sets
from a few integers, and a property test holds that both agree.
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from homeserver.core.auth.state import POWER_LEVELS
from homeserver.core.event import Event
from homeserver.core.state_resolution.inputs import Missing, require_events


def cited(event: Event) -> tuple[str, ...]:
    """The event's auth events, the create event that the room id implies included [rooms/v12 "Event format"]."""
    if event.version.room_id_is_create_hash and event.type != "m.room.create":
        return (*event.auth_events, "$" + event.room_id[1:])
    return event.auth_events


def auth_chain(starts: Iterable[str], events: Mapping[str, Event]) -> set[str]:
    """The events that can be reached from `starts`, themselves included."""
    reached = set(starts)
    frontier = list(reached)
    while frontier:
        require_events(frontier, events)
        frontier = list({parent for event_id in frontier for parent in cited(events[event_id])} - reached)
        reached.update(frontier)
    return reached


def auth_difference(states: Iterable[Iterable[str]], events: Mapping[str, Event]) -> set[str]:
    """What is in some but not in all full auth chains; a state's own events belong to its chain."""
    chains = [auth_chain(state, events) for state in states]
    return set[str]().union(*chains).difference(set[str].intersection(*chains)) if chains else set()


def conflicted_subgraph(conflicted: AbstractSet[str], events: Mapping[str, Event]) -> set[str]:
    """The events on paths between conflicted events, these included [rooms/v12 "Conflicted state subgraph"]."""
    below = auth_chain(conflicted, events)
    citing: dict[str, list[str]] = {}
    for event_id in below:
        for parent in cited(events[event_id]):
            citing.setdefault(parent, []).append(event_id)
    between = set(conflicted)
    stack = list(between)
    while stack:
        upwards = [child for child in citing.get(stack.pop(), ()) if child not in between]
        between.update(upwards)
        stack.extend(upwards)
    return between


def lexicographic_sort(parents: Mapping[str, Collection[str]], rank: Callable[[str], Any]) -> list[str]:
    """The smallest topological order, parents first: Kahn's algorithm with a heap.

    `parents` names only nodes that are keys of it. A circle, which hashed ids exclude, is left out.
    """
    children: dict[str, list[str]] = {node: [] for node in parents}
    waiting = {node: len(above) for node, above in parents.items()}
    for node, above in parents.items():
        for parent in above:
            children[parent].append(node)
    ready = [(rank(node), node) for node, count in waiting.items() if not count]
    heapq.heapify(ready)
    order = []
    while ready:
        _, node = heapq.heappop(ready)
        order.append(node)
        for child in children[node]:
            waiting[child] -= 1
            if not waiting[child]:
                heapq.heappush(ready, (rank(child), child))
    return order


def reachable_within(
    starts: Iterable[str], limit: AbstractSet[str], events: Mapping[str, Event]
) -> dict[str, list[str]]:
    """The graph from `starts` over links that stay in `limit`: each reached event with its parents there."""
    graph: dict[str, list[str]] = {}
    stack = list(starts)
    while stack:
        event_id = stack.pop()
        if event_id not in graph:
            graph[event_id] = [parent for parent in dict.fromkeys(cited(events[event_id])) if parent in limit]
            stack.extend(graph[event_id])
    return graph


def power_levels_of(event: Event, events: Mapping[str, Event]) -> str | None:
    """The power levels event that `event` cites."""
    unknown = []
    for event_id in cited(event):
        parent = events.get(event_id)
        if parent is None:
            unknown.append(event_id)
        elif parent.is_state and parent.key == POWER_LEVELS:
            return event_id
    if unknown:
        raise Missing(frozenset(unknown))
    return None


class Mainline:
    """The mainline of a power levels event, followed only as far as positions are asked for.

    Two lines that meet stay together, so walking both in step finds the first common event without walking either
    to the start of the room.
    """

    def __init__(self, top: str | None, events: Mapping[str, Event]) -> None:
        self._events = events
        self._next = top
        self._positions: dict[str, int] = {}
        self._answers: dict[str, float] = {}

    def position(self, event: Event) -> float:
        """The mainline position of `event`: smaller is nearer to the top; infinite when there is none."""
        start = power_levels_of(event, self._events)
        if start is None:
            return float("inf")
        if start not in self._answers:
            walked, met = self._meet(start)
            answer = float("inf") if met is None else self._positions[met]
            before = walked[: walked.index(met)] if met in walked else walked
            self._answers.update(dict.fromkeys([start, *before], answer))
        return self._answers[start]

    def _meet(self, start: str) -> tuple[list[str], str | None]:
        """Walk down from `start` and down the mainline by turns: the steps taken, and where they met."""
        walked: dict[str, None] = {}
        here: str | None = start
        while here is not None or self._next is not None:
            if here is not None:
                if here in self._positions:
                    return list(walked), here
                walked[here] = None
                below = self._below(here)
                here = None if below in walked else below
            added = self._extend()
            if added in walked:
                return list(walked), added
        return list(walked), None

    def _extend(self) -> str | None:
        added = self._next
        if added is not None:
            self._positions[added] = len(self._positions)
            below = self._below(added)
            self._next = None if below in self._positions else below
        return added

    def _below(self, event_id: str) -> str | None:
        if event_id not in self._events:
            raise Missing(frozenset({event_id}))
        return power_levels_of(self._events[event_id], self._events)
