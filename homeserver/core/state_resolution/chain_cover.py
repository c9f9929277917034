"""Reachability among auth events from a few integers: a chain cover.

Theory. Each event of an authorizing type (create, power levels, join rules, memberships, third-party invites)
gets a *place*: a chain and a number in it, counted from 1. Number k of a chain cites number k-1, so whoever
reaches k reaches all below. All events of a chain have the same (type, state key): a membership that cites
the user's last one continues its chain, any other event begins a new one. A place keeps *links*: for each
other chain that this chain, up to here, cites, the furthest number. What (c, n) reaches is then (c, 1…n) and,
for each of its links, what that place reaches. Sets that are closed downwards ("all that is reached") are one
number a chain; the auth difference and the conflicted state subgraph are one contiguous `Band` a chain. Cost:
the chains touched, never the events or the size of the state.

The contract with storage, for every accepted event of an authorizing type, in topological order of `auth_events`:

- store `chain`, `seq` and `links`, flat: [chain, seq, chain, seq, …], each chain once; unique on (room, chain, seq);
- two events never share a place; chain numbers are any positive integers, new ones from the caller;
- other state events (name, topic, …) are never cited and need no place: they *stand on* the places of their auth
  events. They are conflicted themselves where they differ, so no difference misses them;
- in a room whose id is the create event's hash the create event counts among each event's auth events.

Functions that follow links take `links`, a mapping from a place to its links, and raise `MissingPlaces` with
all the places of a round; load these and call again. Rounds are few. Links that another auth event implies
are left out, so a join links to the join rules, these to the power levels, and so on up a spine of some
dozens of places, which is worth keeping in memory.

A difference between whole states needs the reach of the unconflicted state too: see `auth_difference`.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from attrs import define, field, frozen

ID = TypeVar("ID", bound=Hashable)
Reach = Mapping[int, int]  # chain -> furthest number reached; absent: nothing of the chain
Links = Sequence[int]  # flat: [chain, seq, chain, seq, …]

MAX_LINKED_CHAINS = 48  # of one place: a chain that gathers more is continued by a new one


class Place(NamedTuple):
    """Where an event stands in the cover."""

    chain: int
    seq: int


class Band(NamedTuple):
    """Numbers `above` < n <= `upto` of a chain."""

    chain: int
    above: int
    upto: int


@frozen
class Placement:
    """An event's place and the links of its chain up to there, flat: [chain, seq, chain, seq, …]."""

    place: Place
    links: Links = ()


@frozen
class Newcomer(Generic[ID]):
    """An event to be placed. `predecessor` is the one of `cites` with the same type and state key."""

    id: ID
    cites: tuple[ID, ...]
    predecessor: ID | None = None


@define(eq=False)
class MissingPlaces(Exception):
    """Load the links of `places`, and of all places of a chain up to each of `chains`, and call again."""

    places: frozenset[Place] = frozenset()
    chains: frozenset[Place] = frozenset()


# Placing


def assign(
    newcomers: Iterable[Newcomer[ID]],
    placed: Mapping[ID, Placement],
    tips: Mapping[int, int],
    new_chain: Callable[[], int],
) -> dict[ID, Placement]:
    """Places for `newcomers`, which come in topological order.

    `placed` holds the placements of what they cite; `tips` the last number of each chain that a predecessor in
    `placed` is on.
    """
    made: dict[ID, Placement] = {}
    ends = dict(tips)
    begun: dict[tuple[ID, ...], Links] = {}  # of new chains: a thousand members cite the same
    for newcomer in newcomers:
        placement, cites = None, newcomer.cites
        if newcomer.predecessor is not None or cites not in begun:
            cited = {id_: made[id_] if id_ in made else placed[id_] for id_ in cites}
            if newcomer.predecessor is not None:
                placement = _continued(cited[newcomer.predecessor], cited.values(), ends)
            if placement is None and cites not in begun:
                begun[cites] = _links((), cited.values())
        placement = placement or Placement(Place(new_chain(), 1), begun[cites])
        ends[placement.place.chain] = placement.place.seq
        made[newcomer.id] = placement
    return made


def _continued(
    predecessor: Placement, cited: Iterable[Placement], ends: Mapping[int, int]
) -> Placement | None:
    """The next place of the predecessor's chain, unless that is taken or the links would become too many."""
    chain, seq = predecessor.place
    if ends[chain] != seq:
        return None
    links = _links(predecessor.links, [placement for placement in cited if placement.place.chain != chain])
    return Placement(Place(chain, seq + 1), links) if len(links) <= 2 * MAX_LINKED_CHAINS else None


def _links(inherited: Links, others: Collection[Placement]) -> Links:
    """The links of a chain so far and those to `others`, less new ones that another cited event implies.

    Inherited links are never left out, so that links only grow along a chain: who stands at a number needs to
    follow no lower one, and what implies a link never does so by way of this very chain.
    """
    implied: dict[int, int] = {}
    for target in (target for other in others for target in pairs(other.links)):
        _raise_to(implied, target)
    furthest = dict(pairs(inherited))
    for chain, seq in (other.place for other in others):
        if implied.get(chain, 0) < seq:
            _raise_to(furthest, Place(chain, seq))
    return tuple(number for pair in sorted(furthest.items()) for number in pair)


def pairs(links: Links) -> Iterator[Place]:
    """The places that flat links name."""
    return map(Place, links[::2], links[1::2])


def _raise_to(reach: dict[int, int], place: Place) -> None:
    if place.seq > reach.get(place.chain, 0):
        reach[place.chain] = place.seq


# Reaching


def reach(starts: Iterable[Place], links: Mapping[Place, Links]) -> dict[int, int]:
    """All that `starts` reach, themselves included."""
    reached: dict[int, int] = {}
    frontier = list(starts)
    while frontier:
        raised: dict[int, int] = {}
        for place in frontier:
            if place.seq > reached.get(place.chain, 0):
                _raise_to(raised, place)
        reached.update(raised)
        places = [Place(chain, seq) for chain, seq in raised.items()]
        absent = frozenset(place for place in places if place not in links)
        if absent:
            raise MissingPlaces(absent)
        frontier = [target for place in places for target in pairs(links[place])]
    return reached


def union(reaches: Iterable[Reach]) -> dict[int, int]:
    """What any of `reaches` reaches."""
    reached: dict[int, int] = {}
    for one in reaches:
        for place in one.items():
            _raise_to(reached, Place(*place))
    return reached


@define
class LinkTargets:
    """What the entries of a state link to, counted: a bag kept beside a state, so that none is ever walked.

    Each entry brings its links; one that has no place brings the places it stands on. The bag holds some dozens of
    distinct places however large the room is, since members that came under the same rules link to the same.
    """

    counts: Counter[Place] = field(factory=Counter)

    def add(self, links: Links) -> None:
        """An entry came into the state."""
        self.counts.update(pairs(links))

    def remove(self, links: Links) -> None:
        """An entry left the state."""
        for place in pairs(links):
            self.counts[place] -= 1
            if not self.counts[place]:
                del self.counts[place]

    def copy(self) -> "LinkTargets":
        """For a state that differs in a few entries."""
        return LinkTargets(self.counts.copy())

    def furthest(self) -> list[Place]:
        """The furthest place of each chain: where the reach of the state starts."""
        return [Place(chain, seq) for chain, seq in union([{p.chain: p.seq} for p in self.counts]).items()]


# Differences


def auth_difference(reaches: Sequence[Reach], common: Reach) -> list[Band]:
    """What is in some but not in all full auth chains [rooms/v12 "Auth difference"].

    `reaches`: for each state what its conflicted entries reach. `common`: what the unconflicted entries reach, of
    the chains in `reaches` at least: `reach` from the `LinkTargets` of the unconflicted state and, for each chain
    in `reaches`, from the unconflicted entry of that chain's key. A part of it may do: the more is in `common`, the
    less is in the bands, so once they hold only conflicted events the rest can change nothing. Try an empty one,
    then the reach of the unconflicted create event, power levels, join rules and entries of the chains in `reaches`.
    """
    return [
        Band(chain, above, upto)
        for chain, upto in union(reaches).items()
        if (above := max(min(one.get(chain, 0) for one in reaches), common.get(chain, 0))) < upto
    ]


def conflicted_subgraph(
    conflicted: Iterable[Place],
    below: Reach,
    links: Mapping[Place, Links],
    rows: Mapping[int, Mapping[int, Links]],
) -> list[Band]:
    """What is on a path between conflicted events [rooms/v12 "Conflicted state subgraph"].

    `conflicted`: places of the conflicted events that have one; `below`: the union of what all conflicted events
    reach, those without a place from where they stand; `links`: as for `below`. `rows`: per chain the links of all
    its numbers up to `below`; asked for only for chains that hold a part of the answer.

    Within a chain, what conflicted events reach is closed downwards, what reaches them is closed upwards.
    """
    lowest: dict[int, int] = {}
    for chain, seq in conflicted:
        lowest[chain] = min(seq, lowest.get(chain, seq))
    search = _UpwardSearch(below, links, rows, lowest)
    search.run()
    return [Band(chain, seq - 1, below[chain]) for chain, seq in lowest.items() if seq <= below.get(chain, 0)]


@define
class _UpwardSearch:
    """Lowers `lowest`, the first number of each chain that reaches a conflicted event, to its fixpoint."""

    below: Reach
    links: Mapping[Place, Links]
    rows: Mapping[int, Mapping[int, Links]]
    lowest: dict[int, int]
    citing: dict[int, set[int]] = field(factory=dict)  # chain -> chains that link to it

    def run(self) -> None:
        for chain, upto in self.below.items():
            for target in pairs(self.links[Place(chain, upto)]):
                self.citing.setdefault(target.chain, set()).add(chain)
        todo = set(self.lowest)
        while todo:
            affected = {chain for lowered in todo for chain in self.citing.get(lowered, ())}
            self._require_rows(affected)
            todo = {chain for chain in affected if self._lower(chain)}

    def _require_rows(self, chains: Iterable[int]) -> None:
        absent = [c for c in chains if c not in self.rows and self._reaches(self._top(c))]
        if absent:
            raise MissingPlaces(chains=frozenset(Place(chain, self.below[chain]) for chain in absent))

    def _top(self, chain: int) -> Links:
        return self.links[Place(chain, self.below[chain])]

    def _reaches(self, links: Links) -> bool:
        return any(seq >= self.lowest.get(chain, seq + 1) for chain, seq in pairs(links))

    def _lower(self, chain: int) -> bool:
        """Did the chain's lowest number fall? Links only grow along a chain, so it is found by halving."""
        if chain not in self.rows or not self._reaches(self._top(chain)):
            return False
        rows = self.rows[chain]
        first = (
            bisect_left(range(1, self.below[chain] + 1), True, key=lambda seq: self._reaches(rows[seq])) + 1
        )
        fell = first < self.lowest.get(chain, first + 1)
        if fell:
            self.lowest[chain] = first
        return fell
