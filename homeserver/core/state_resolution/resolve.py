"""Of several states of a room, one: by the algorithm of its version [rooms/index "State resolution"]."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from homeserver.core.event import Event, StateKey
from homeserver.core.room_versions import RoomVersion, StateResolution
from homeserver.core.state_resolution import v1, v2
from homeserver.core.state_resolution.graph import auth_difference, conflicted_subgraph
from homeserver.core.state_resolution.inputs import Conflict, Known

StateIDs = Mapping[StateKey, str]


def resolve(conflict: Conflict, known: Known) -> dict[StateKey, str | None]:
    """What becomes of the conflicted keys, and of keys that no state had; None means absent.

    All other keys keep what they are in every state. Raises `inputs.Missing` for what has to be loaded first.
    """
    if not conflict.states:
        return {}
    if conflict.version.state_resolution is StateResolution.V1:
        return v1.resolve(conflict, known)
    return v2.resolve(conflict, known)


def resolve_maps(
    version: RoomVersion,
    states: Sequence[StateIDs],
    events: Mapping[str, Event],
    rejected: AbstractSet[str] = frozenset(),
) -> dict[StateKey, str]:
    """The same for small rooms and tests: whole states, all events at hand, plain searches of the graph."""
    conflict = conflict_of(version, states, events)
    unconflicted = _AbsentIsNone({key: event_id for state in states for key, event_id in state.items()})
    resolved = resolve(conflict, Known(events, unconflicted, rejected))
    whole = {key: event_id for key, event_id in unconflicted.items() if key not in conflict.states}
    whole.update(resolved)
    return {key: event_id for key, event_id in whole.items() if event_id is not None}


def conflict_of(version: RoomVersion, states: Sequence[StateIDs], events: Mapping[str, Event]) -> Conflict:
    """How whole states differ."""
    keys = {key for state in states for key in state}
    values = {key: frozenset(state.get(key) for state in states) for key in keys}
    conflict = Conflict(version, {key: ids for key, ids in values.items() if len(ids) > 1})
    if version.state_resolution is StateResolution.V1 or not conflict.states:
        return conflict
    difference = auth_difference([state.values() for state in states], events)
    if version.state_resolution is StateResolution.V2_1:
        difference |= conflicted_subgraph(conflict.event_ids, events)
    return Conflict(version, conflict.states, difference)


class _AbsentIsNone(dict[StateKey, str | None]):
    """A whole state in which everything is loaded: what it does not hold is absent."""

    def __missing__(self, key: StateKey) -> None:
        return None

    def __contains__(self, key: object) -> bool:
        return True
