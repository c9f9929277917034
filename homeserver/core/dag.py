"""The graph that `prev_events` make: extremities, depth, order of a batch, and what is missing from it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum

from attrs import frozen

from homeserver.core import canonical_json
from homeserver.core.event import Event
from homeserver.core.room_versions import RoomVersion
from homeserver.core.state_resolution.graph import cited, lexicographic_sort

_MAX_INT64 = 2**63 - 1


class Standing(Enum):
    """What was made of an event on receipt [ss "Checks performed on receipt of a PDU"]."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    SOFT_FAILED = "soft failed"

    @property
    def hidden(self) -> bool:
        """No event of ours refers to a hidden one [ss "Rejection", "Soft failure"]."""
        return self is not Standing.ACCEPTED


@frozen
class Arrival:
    """An event that joins the graph."""

    event_id: str
    prev_events: tuple[str, ...]
    standing: Standing = Standing.ACCEPTED


def forward_extremities(
    current: Collection[str],
    arrivals: Iterable[Arrival],
    *,
    pointed_at: AbstractSet[str] = frozenset(),
    hidden: Mapping[str, Collection[str]],
) -> frozenset[str]:
    """The accepted events that no accepted event follows, directly or behind hidden ones, after `arrivals`.

    `pointed_at`: which of the arrivals accepted events followed, directly or not, before they came. `hidden`:
    rejected and soft-failed events known before, with their prev_events: those among the arrivals' prev_events,
    theirs again, and so on. Hidden events neither become extremities nor end one; but an accepted event that
    follows them also follows what is behind them.
    """
    batch = list(arrivals)
    behind = {**hidden, **{event.event_id: event.prev_events for event in batch if event.standing.hidden}}
    accepted = [event for event in batch if not event.standing.hidden]
    followed = _through_hidden((parent for event in accepted for parent in event.prev_events), behind)
    tips = {event.event_id for event in accepted}.difference(pointed_at).union(current)
    return frozenset(tips - followed)


def _through_hidden(parents: Iterable[str], hidden: Mapping[str, Collection[str]]) -> set[str]:
    followed = set(parents)
    stack = list(followed)
    while stack:
        further = set(hidden.get(stack.pop(), ())) - followed
        followed |= further
        stack.extend(further)
    return followed


def next_depth(depths: Iterable[int], version: RoomVersion) -> int:
    """One more than the deepest previous event, or the limit [ss "PDUs"]."""
    limit = canonical_json.MAX_INTEGER if version.strict_canonical_json else _MAX_INT64
    return min(max(depths, default=0) + 1, limit)


@frozen
class Gaps:
    """What a batch points at and nobody has."""

    prev_events: frozenset[
        str
    ]  # ask with get_missing_events or backfill, else for the state in front of them
    auth_events: frozenset[str]  # ask with event_auth

    def __bool__(self) -> bool:
        return bool(self.prev_events or self.auth_events)


def gaps(batch: Sequence[Event], known: AbstractSet[str]) -> Gaps:
    """What is missing before `batch` can be judged; `known` are those of its links that we have."""
    have = known | {event.event_id for event in batch}
    prev_events = frozenset(parent for event in batch for parent in event.prev_events)
    auth_events = frozenset(parent for event in batch for parent in cited(event))
    return Gaps(prev_events - have, auth_events - have)


@frozen
class Sorted:
    """A batch in the order in which it can be judged; `circular` holds events that wait for each other.

    A circle cannot be made of hashes, but in rooms whose event ids are chosen (until v2) anyone can send one.
    """

    order: list[Event]
    circular: list[Event]


def topological(batch: Iterable[Event]) -> Sorted:
    """Each event after those of the batch that it points at; ties go by depth, time and id."""
    events = {event.event_id: event for event in batch}
    parents = {
        event_id: [link for link in {*event.prev_events, *cited(event)} if link in events]
        for event_id, event in events.items()
    }

    def rank(event_id: str) -> tuple[int, int, str]:
        event = events[event_id]
        return (event.depth, event.origin_server_ts, event_id)

    order = lexicographic_sort(parents, rank)
    circular = sorted(events.keys() - set(order))
    return Sorted([events[event_id] for event_id in order], [events[event_id] for event_id in circular])
