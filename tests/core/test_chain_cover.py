"""The chain cover against plain searches of the graph, on random graphs of many shapes."""

import random
from collections.abc import Callable, Iterable
from itertools import count
from typing import TypeVar

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.core.state_resolution import chain_cover
from homeserver.core.state_resolution.chain_cover import (
    MAX_LINKED_CHAINS,
    Band,
    LinkTargets,
    MissingPlaces,
    Newcomer,
    Place,
    Placement,
)

ROUNDS = 250
T = TypeVar("T")


@define
class Graph:
    """A random graph of auth events, numbered in topological order, and its cover."""

    cites: list[tuple[int, ...]]
    keys: list[int]
    placements: dict[int, Placement] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        chains = count(1)
        for start in range(0, len(self.cites), 3):  # in batches, as events arrive
            batch = range(start, min(start + 3, len(self.cites)))
            newcomers = [Newcomer(n, self.cites[n], self.predecessor(n)) for n in batch]
            made = chain_cover.assign(newcomers, self.placements, self.tips(), lambda: next(chains))
            self.placements.update(made)

    def predecessor(self, n: int) -> int | None:
        return next((m for m in self.cites[n] if self.keys[m] == self.keys[n]), None)

    def tips(self) -> dict[int, int]:
        tips: dict[int, int] = {}
        for placement in self.placements.values():
            chain, seq = placement.place
            tips[chain] = max(seq, tips.get(chain, 0))
        return tips

    def reached(self, starts: Iterable[int]) -> set[int]:
        seen = set(starts)
        stack = list(seen)
        while stack:
            stack += (new := set(self.cites[stack.pop()]) - seen)
            seen |= new
        return seen

    def between(self, conflicted: set[int]) -> set[int]:
        above = {n for n in range(len(self.cites)) if self.reached([n]) & conflicted}
        return above & self.reached(conflicted)

    def places(self, nodes: Iterable[int]) -> list[Place]:
        return [self.placements[n].place for n in nodes]

    def nodes_in(self, bands: Iterable[Band]) -> set[int]:
        inside = {Place(chain, n) for chain, above, upto in bands for n in range(above + 1, upto + 1)}
        return {n for n, placement in self.placements.items() if placement.place in inside}


@define
class Loader:
    """Storage in miniature: runs a function again until all that it misses has been loaded."""

    graph: Graph
    links: dict[Place, tuple[int, ...]] = field(factory=dict)
    rows: dict[int, dict[int, tuple[int, ...]]] = field(factory=dict)
    rounds: int = 0

    def run(self, function: Callable[[], T]) -> T:
        stored = {p.place: tuple(p.links) for p in self.graph.placements.values()}
        for _ in range(len(stored) + 2):
            try:
                return function()
            except MissingPlaces as missing:
                self.rounds += 1
                self.links |= {place: stored[place] for place in missing.places}
                for chain, upto in missing.chains:
                    self.rows[chain] = {n: stored[Place(chain, n)] for n in range(1, upto + 1)}
        raise AssertionError("asks for the same again")

    def reach(self, nodes: Iterable[int]) -> dict[int, int]:
        return self.reach_of(self.graph.places(nodes))

    def reach_of(self, places: list[Place]) -> dict[int, int]:
        return self.run(lambda: chain_cover.reach(places, self.links))

    def subgraph(self, conflicted: set[int]) -> list[Band]:
        below, places = self.reach(conflicted), self.graph.places(conflicted)
        return self.run(lambda: chain_cover.conflicted_subgraph(places, below, self.links, self.rows))


def random_graph(rng: random.Random, size: int, keys: int) -> Graph:
    """Any graph; with a bias to cite recent events, and the last one of the same key."""
    cites: list[tuple[int, ...]] = []
    key_of = [rng.randrange(keys) for _ in range(size)]
    recent = rng.choice([3, 8, size])
    for n in range(size):
        pool = range(max(0, n - recent), n)
        chosen = set(rng.sample(pool, min(len(pool), rng.randrange(4))))
        same = [m for m in range(n) if key_of[m] == key_of[n]]
        if same and rng.random() < 0.7:
            chosen.add(same[-1] if rng.random() < 0.7 else rng.choice(same))
        cites.append(tuple(chosen))
    return Graph(cites, key_of)


def graphs(seed: int, number: int = 6) -> Iterable[tuple[random.Random, Graph]]:
    rng = random.Random(seed)
    for _ in range(number):
        yield rng, random_graph(rng, rng.randrange(1, 24), rng.choice([1, 3, 8, 24]))


def some(rng: random.Random, graph: Graph, most: int = 6) -> set[int]:
    return set(rng.sample(range(len(graph.cites)), min(len(graph.cites), rng.randrange(1, most))))


seeds = given(seed=st.integers(0, 2**64))


@seeds
@settings(max_examples=ROUNDS, deadline=None)
def test_chains_are_ordered_and_of_one_key(seed: int) -> None:
    for _, graph in graphs(seed):
        by_place = {placement.place: n for n, placement in graph.placements.items()}
        assert len(by_place) == len(graph.cites)
        for (chain, seq), n in by_place.items():
            if seq > 1:
                assert by_place[Place(chain, seq - 1)] in graph.reached([n])
                assert graph.keys[by_place[Place(chain, seq - 1)]] == graph.keys[n]


@seeds
@settings(max_examples=ROUNDS, deadline=None)
def test_reach_is_what_a_search_reaches(seed: int) -> None:
    for rng, graph in graphs(seed):
        starts = some(rng, graph)
        reached = Loader(graph).reach(starts)
        assert graph.nodes_in(Band(chain, 0, seq) for chain, seq in reached.items()) == graph.reached(starts)


@seeds
@settings(max_examples=ROUNDS, deadline=None)
def test_auth_difference_is_in_bands(seed: int) -> None:
    for rng, graph in graphs(seed):
        states, shared = [some(rng, graph) for _ in range(rng.randrange(2, 5))], some(rng, graph)
        loader = Loader(graph)
        bands = chain_cover.auth_difference([loader.reach(s) for s in states], loader.reach(shared))
        chains = [graph.reached(state | shared) for state in states]
        assert graph.nodes_in(bands) == set().union(*chains) - set.intersection(*chains)


@seeds
@settings(max_examples=ROUNDS, deadline=None)
def test_conflicted_subgraph_is_in_bands(seed: int) -> None:
    for rng, graph in graphs(seed):
        conflicted = some(rng, graph)
        loader = Loader(graph)
        assert graph.nodes_in(loader.subgraph(conflicted)) == graph.between(conflicted)


@seeds
@settings(max_examples=ROUNDS // 4, deadline=None)
def test_link_targets_stand_for_a_state(seed: int) -> None:
    """The reach of all entries = the reach of the bag's furthest places + the entries' own places."""
    for rng, graph in graphs(seed):
        entries, gone = some(rng, graph, 12), some(rng, graph)
        bag = LinkTargets()
        for n in entries | gone:
            bag.add(graph.placements[n].links)
        before = dict(bag.counts)
        other = bag.copy()
        for n in gone - entries:
            other.remove(graph.placements[n].links)
        loader = Loader(graph)
        reached = loader.reach_of([*other.furthest(), *graph.places(entries)])
        assert reached == loader.reach(entries)
        assert dict(bag.counts) == before


def test_links_of_one_place_stay_few() -> None:
    """One key changed by a thousand senders in turn: the chain is continued by new ones, nothing is lost."""
    cites, keys = [], []
    for n in range(1000):
        cites += [(), (2 * n, *([2 * n - 1] if n else []))]
        keys += [n + 1, 0]
    graph = Graph(cites, keys)
    assert max(len(placement.links) for placement in graph.placements.values()) <= 2 * MAX_LINKED_CHAINS
    loader = Loader(graph)
    reached = loader.reach([1999])
    assert graph.nodes_in(Band(chain, 0, seq) for chain, seq in reached.items()) == set(range(2000))
    assert loader.rounds < 40


@pytest.mark.parametrize("width", [2, 30])
def test_many_interleaved_chains(width: int) -> None:
    """A ladder: every event cites the last round's events of some other chains."""
    rng = random.Random(width)
    cites, keys = [], []
    for n in range(600):
        own = [n - width] if n >= width else []
        others = rng.sample(range(max(0, n - width), n), min(n, width, 3))
        cites.append(tuple({*own, *others}))
        keys.append(n % width)
    graph = Graph(cites, keys)
    conflicted = {200, 350, 599}
    loader = Loader(graph)
    assert graph.nodes_in(loader.subgraph(conflicted)) == graph.between(conflicted)


def test_an_empty_conflict_has_no_difference() -> None:
    assert chain_cover.auth_difference([{}, {}], {}) == []
    assert chain_cover.conflicted_subgraph([], {}, {}, {}) == []
