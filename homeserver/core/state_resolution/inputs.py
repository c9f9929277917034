"""What resolution is given: a conflict as differences, and what has been loaded so far.

Resolution is a *restartable pure function*. It never asks a database; where a fact is not loaded it raises
`Missing` with all the absent things it can name at once, the caller loads them in one batch and calls again. A
caller that loads the conflicted events and the events these cite beforehand sees two or three rounds in all.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from attrs import define, frozen

from homeserver.core.event import Event, StateKey
from homeserver.core.room_versions import RoomVersion


@frozen
class Conflict:
    """Several states of a room, told by what differs between them.

    `states`: for each key that is not the same in all states, the ids it has in them; None stands for "absent in
    one of them". `difference`: the auth difference, with the conflicted state subgraph where the version has one
    (see `chain_cover`, or `graph` for the plain search). Version 1 needs no difference.
    """

    version: RoomVersion
    states: Mapping[StateKey, AbstractSet[str | None]]
    difference: AbstractSet[str] = frozenset()

    @property
    def event_ids(self) -> AbstractSet[str]:
        """The conflicted state set."""
        return {event_id for ids in self.states.values() for event_id in ids if event_id is not None}


@frozen
class Known:
    """What has been loaded. Sets and maps may hold more than is needed.

    `unconflicted`: the id of a key that is equal in all states, or None where it is absent in all of them; a key
    that is not in the mapping has not been loaded. `rejected`: which of `events` were rejected on receipt.
    """

    events: Mapping[str, Event]
    unconflicted: Mapping[StateKey, str | None]
    rejected: AbstractSet[str] = frozenset()


@define(eq=False)
class Missing(Exception):
    """Load these and call again.

    The mainline is walked from one power levels event to the next. Whoever loads such an event had better load
    those below it in its chain along with it (see `chain_cover`), some dozens at a time: each saves a round.
    """

    event_ids: frozenset[str] = frozenset()
    keys: frozenset[StateKey] = frozenset()

    def __str__(self) -> str:
        return f"{len(self.event_ids)} events and {len(self.keys)} keys are not loaded"


def require_events(wanted: Iterable[str], events: Mapping[str, Event]) -> None:
    """Raise Missing for all of `wanted` that are not loaded."""
    absent = frozenset(event_id for event_id in wanted if event_id not in events)
    if absent:
        raise Missing(absent)
