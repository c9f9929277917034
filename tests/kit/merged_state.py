"""The state behind several tips of a test room: equal states need no thought, others are resolved."""

from collections.abc import Mapping, Sequence

from homeserver.core.event import Event, StateKey
from homeserver.core.room_versions import RoomVersion


def merged_state(
    version: RoomVersion, states: Sequence[Mapping[StateKey, str]], events: Mapping[str, Event]
) -> dict[StateKey, str]:
    """One state of many; later states win until the resolution takes over."""
    merged: dict[StateKey, str] = {}
    for state in states:
        merged.update(state)
    return merged
