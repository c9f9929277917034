"""Where a new event stands in the chain cover of its room's auth events."""

from collections.abc import Callable

from attrs import define, frozen

from homeserver.core.event import StateKey
from storage.events import StoredEvent


@frozen
class Placed:
    """Chain and place in it, and the cumulative links of the chain up to here (flattened pairs)."""

    chain: int
    seq: int
    links: tuple[int, ...]


@define(eq=False)
class Placements:
    """Places the events of one step; `chains` is how many chains the room has."""

    chains: int

    def place(
        self, stored: StoredEvent, auth: list[StoredEvent], entry: Callable[[StateKey], StoredEvent | None]
    ) -> Placed | None:
        """The event's place; None for an event that never authorizes another one."""
        return None
