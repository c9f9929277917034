"""The state behind several tips of a test room: equal states need no thought, others are resolved."""

from collections.abc import Mapping, Sequence

from homeserver.core.event import Event, StateKey
from homeserver.core.room_versions import RoomVersion
from homeserver.core.state_resolution.resolve import resolve_maps


def merged_state(
    version: RoomVersion, states: Sequence[Mapping[StateKey, str]], events: Mapping[str, Event]
) -> dict[StateKey, str]:
    """One state of many."""
    if all(state == states[0] for state in states):
        return dict(states[0]) if states else {}
    return resolve_maps(version, states, events)
