"""The recent end of each active room's timeline, in memory: what waking syncs read instead of the database.

A tail holds every timeline event of its room after `floor`. It begins with the first commit this process sees in a
room, is bounded in length, and all tails together are bounded in events; the oldest rooms go first.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable

from attrs import define, evolve, field

from storage.events import StoredEvent

MAX_TAIL = 64
DEFAULT_EVENTS = 8_000


@define(eq=False)
class Tail:
    """All timeline events of a room with a position after `floor`, oldest first."""

    floor: int
    events: deque[StoredEvent] = field(factory=deque)


@define(eq=False)
class Tails:
    """The tails of the rooms in which something happened lately."""

    max_events: int = DEFAULT_EVENTS
    events: int = 0
    _tails: OrderedDict[int, Tail] = field(factory=OrderedDict)

    def extend(self, room_nid: int, before: int, events: Iterable[StoredEvent]) -> None:
        """Add what a commit brought; `before` is the position before its first event."""
        tail = self._tails.get(room_nid)
        if tail is None:
            tail = self._tails[room_nid] = Tail(before)
        else:
            self._tails.move_to_end(room_nid)
        for event in events:
            tail.events.append(event)
            self.events += 1
        while len(tail.events) > MAX_TAIL:
            self._drop_first(tail)
        while self.events > self.max_events:
            _, oldest = self._tails.popitem(last=False)
            self.events -= len(oldest.events)

    def since(self, room_nid: int, position: int) -> list[StoredEvent] | None:
        """The room's timeline events after `position`, oldest first; None if only the database knows them all."""
        tail = self._tails.get(room_nid)
        if tail is None or position < tail.floor:
            return None
        found = []
        for event in reversed(tail.events):
            if event.position is None or event.position <= position:
                break
            found.append(event)
        found.reverse()
        return found

    def replace(self, room_nid: int, event_id: str, *, redacted_by: int, event: StoredEvent) -> None:
        """An event of a tail has been redacted: show it in its redacted form from now on."""
        tail = self._tails.get(room_nid)
        if tail is None:
            return
        for index, held in enumerate(tail.events):
            if held.event.event_id == event_id:
                tail.events[index] = evolve(held, event=event.event, redacted_by=redacted_by)

    def forget(self, room_nid: int) -> None:
        """Another process wrote into the room: only the database knows its end now."""
        tail = self._tails.pop(room_nid, None)
        if tail is not None:
            self.events -= len(tail.events)

    def clear(self) -> None:
        """Something was written anywhere that this process did not hear of."""
        self._tails.clear()
        self.events = 0

    def _drop_first(self, tail: Tail) -> None:
        first = tail.events.popleft()
        tail.floor = first.position or tail.floor
        self.events -= 1
