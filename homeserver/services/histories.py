"""What a key of a room's state has been over time: for visibility, and for the reader's membership at an event.

Events on forks have overlays over the main line; where an overlay says something about the key, it wins.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

from attrs import field, frozen

from storage import room_state
from storage.database import Connection
from storage.events import EventReader, StoredEvent
from storage.key_histories import key_histories
from storage.room_state import StatePoint


@frozen
class History:
    """One key's values along the main line, from the place on that was asked for."""

    key_nid: int
    sps: tuple[int, ...] = ()
    values: tuple[StoredEvent | None, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, key_nid: int, values: Sequence[tuple[int, StoredEvent | None]]) -> "History":
        """The history that `values` are, each with its place."""
        return cls(key_nid, tuple(sp for sp, _ in values), tuple(value for _, value in values))

    def at(self, sp: int) -> StoredEvent | None:
        """The value on the main line at `sp`."""
        place = bisect_right(self.sps, sp)
        return self.values[place - 1] if place else None

    def changes_after(self, sp: int) -> tuple[StoredEvent | None, ...]:
        """The values that came after `sp`."""
        return self.values[bisect_right(self.sps, sp) :]


@frozen
class Histories:
    """Histories of several keys of several rooms, and the overlays of the events they are asked about."""

    by_key: Mapping[tuple[int, int], History]
    overlays: Mapping[int, StatePoint]
    forked: Mapping[int, StoredEvent]  # values that only overlays name, by event number

    def of(self, room_nid: int, key_nid: int) -> History:
        """The history of one key."""
        return self.by_key.get((room_nid, key_nid)) or History(key_nid)

    def before(self, event: StoredEvent, key_nid: int) -> StoredEvent | None:
        """The key's value in the state before an event."""
        history = self.of(event.room.nid, key_nid)
        if event.overlay_nid is None:
            return history.at(event.state_sp or 0)
        point = self.overlays[event.overlay_nid]
        if key_nid not in point.overlay:
            return history.at(point.sp)
        nid = point.overlay[key_nid]
        return None if nid is None else self.forked.get(nid)

    def after(self, event: StoredEvent, key_nid: int) -> StoredEvent | None:
        """The key's value in the state after an event."""
        return event if event.key_nid == key_nid else self.before(event, key_nid)


async def load_histories(
    conn: Connection,
    reader: EventReader,
    events: Iterable[StoredEvent],
    key_nids: Iterable[int],
) -> Histories:
    """The histories of `key_nids` in the rooms of `events`, from the earliest of the events on."""
    placed = [event for event in events if event.state_sp is not None]
    overlay_nids = {event.overlay_nid for event in placed if event.overlay_nid is not None}
    overlays = await room_state.load_overlays(conn, overlay_nids) if overlay_nids else {}
    low: dict[int, int] = {}
    for event in placed:
        sp = event.state_sp or 0
        if event.overlay_nid is not None:
            sp = min(sp, overlays[event.overlay_nid].sp)
        low[event.room.nid] = min(sp, low.get(event.room.nid, sp))
    keys = list(key_nids)
    ranges = [(room_nid, key_nid, sp) for room_nid, sp in low.items() for key_nid in keys]
    found = await key_histories(conn, reader, ranges)
    forked = {
        nid for point in overlays.values() for key in keys if (nid := point.overlay.get(key)) is not None
    }
    by_key = {key: History.of(key[1], values) for key, values in found.items()}
    return Histories(by_key, overlays, await reader.by_nids(conn, forked) if forked else {})
