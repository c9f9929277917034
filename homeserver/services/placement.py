"""Where a new event stands in the chain cover of its room's auth events (see `core.state_resolution.chain_cover`)."""

from collections.abc import Iterable

from attrs import define

from homeserver.core.event import Event, StateKey
from homeserver.core.state_resolution.chain_cover import Newcomer, Place, Placement, assign
from storage.events import StoredEvent

PLACED_TYPES = frozenset(
    f"m.room.{kind}" for kind in ("create", "member", "power_levels", "join_rules", "third_party_invite")
)


def is_placed(event: Event) -> bool:
    """Can the event authorize others?"""
    return event.is_state and event.type in PLACED_TYPES


def placement_of(stored: StoredEvent) -> Placement | None:
    """The stored place of an event; None for one without."""
    if stored.chain is None or stored.chain_seq is None:
        return None
    return Placement(Place(stored.chain, stored.chain_seq), stored.chain_links)


def continued_chain(key: StateKey, entry: StoredEvent | None) -> int | None:
    """The chain whose end must be known before an event of this key can be placed after `entry`."""
    return entry.chain if entry is not None and key[0] in PLACED_TYPES else None


@define(eq=False)
class Placements:
    """Places the events of one step; `chains` is how many chains the room has, `tips` where some of them end."""

    chains: int
    tips: dict[int, int]

    def place(self, stored: StoredEvent, cites: Iterable[StoredEvent]) -> Placement | None:
        """The event's place; None for an event that never authorizes another one."""
        if not is_placed(stored.event):
            return None
        placed = {cited.nid: placed for cited in cites if (placed := placement_of(cited)) is not None}
        same_key = [
            cited.nid for cited in cites if cited.nid in placed and cited.event.key == stored.event.key
        ]
        newcomer = Newcomer(stored.nid, tuple(placed), same_key[0] if same_key else None)
        placement = assign([newcomer], placed, self.tips, self._new_chain)[stored.nid]
        self.tips[placement.place.chain] = placement.place.seq
        return placement

    def _new_chain(self) -> int:
        self.chains += 1
        return self.chains
