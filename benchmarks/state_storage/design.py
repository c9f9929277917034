"""What a way to store room state must be able to do, so that trials can compare several."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from attrs import frozen

from storage.database import Connection

# The state behind one event, as the event's row would name it: the design knows what it is.
Ref = Any


@frozen
class Change:
    """One state event of a room: `key_nid` is `event_nid` from now on."""

    room_nid: int
    key_nid: int
    event_nid: int


class Design(Protocol):
    """One way to store the state of rooms. `tables` are those whose size counts."""

    name: str
    tables: tuple[str, ...]
    ref_bytes: int  # what an event's row keeps to name its state

    async def prepare(self, conn: Connection, changes: Sequence[Change]) -> None:
        """Make the tables, and whatever the server has anyway and the design reads; not measured."""

    async def seed(self, conn: Connection, room_nid: int, entries: Mapping[int, int]) -> Ref:
        """A room that is known by its whole state at once, as after a join over federation."""

    async def write(self, conn: Connection, changes: Sequence[Change]) -> list[Ref]:
        """Store the state behind each of some events that follow one another. Inside the caller's transaction."""

    async def branch(self, conn: Connection, room_nid: int, changes: Sequence[Change]) -> list[Ref]:
        """Like `write`, on a fork that begins at the newest state, which stays the room's newest."""

    async def keyed(self, conn: Connection, room_nid: int, ref: Ref, key_nid: int) -> int | None:
        """One key of an old state."""

    async def whole(self, conn: Connection, room_nid: int, ref: Ref) -> dict[int, int]:
        """All keys of an old state."""

    async def differences(self, conn: Connection, room_nid: int, one: Ref, other: Ref) -> set[int]:
        """The keys in which two states differ."""

    async def purge(self, conn: Connection, room_nid: int, ref: Ref) -> int:
        """Forget all states before one; returns the number of rows deleted."""
