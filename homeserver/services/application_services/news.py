"""What commits may have for application services: hints where to look, so that nothing is looked through in vain."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from attrs import define, field

from storage.committer import Committed, Kind

_OF_USERS = (Kind.EVENTS, Kind.RECEIPTS, Kind.TO_DEVICE, Kind.KEY_COUNTS)


@define
class Hints:
    """Where something happened up to a position. `everywhere`: it was not told where."""

    position: int = 0
    everywhere: bool = False
    rooms: set[int] = field(factory=set)  # with new events
    typing: set[int] = field(factory=set)
    receipts: set[int] = field(factory=set)
    users: dict[Kind, set[int]] = field(factory=dict)
    kinds: set[Kind] = field(factory=set)

    def merge(self, other: "Hints") -> None:
        """Look there too."""
        self.position = max(self.position, other.position)
        self.everywhere |= other.everywhere
        self.rooms |= other.rooms
        self.typing |= other.typing
        self.receipts |= other.receipts
        self.kinds |= other.kinds
        for kind, users in other.users.items():
            self.users.setdefault(kind, set()).update(users)

    def note(self, commit: Committed) -> None:
        """One part of a commit."""
        if commit.batch is not None:
            self.rooms.add(commit.batch.room_nid)
            self.kinds.add(Kind.EVENTS)
            return
        kind = commit.touched.kind
        self.kinds.add(kind)
        if kind is Kind.TYPING:
            self.typing.update(commit.touched.rooms)
        elif kind is Kind.RECEIPTS:
            self.receipts.update(commit.touched.rooms)
        if kind in _OF_USERS:
            self.users.setdefault(kind, set()).update(commit.touched.users)


_TOLD = frozenset(
    {Kind.EVENTS, Kind.RECEIPTS, Kind.TYPING, Kind.PRESENCE, Kind.TO_DEVICE, Kind.DEVICE_LISTS, Kind.ANYTHING}
)


@define(eq=False)
class ServiceNews:
    """Gathers for who pushes."""

    position: int = 0
    _hints: Hints = field(factory=lambda: Hints(everywhere=True))  # nobody has told what was before
    _something: asyncio.Event = field(factory=asyncio.Event)

    def heard(self, position: int, commits: Sequence[Committed]) -> None:
        """To be called after each turn of the committer, in commit order."""
        if commits[0].before > self.position:
            self._hints.everywhere = True
        for commit in commits:
            self._hints.note(commit)
        self.position = max(self.position, position)
        if self._hints.everywhere or self._hints.kinds & _TOLD:
            self._something.set()

    def look_everywhere(self, position: int) -> None:
        """All up to `position` may be new: at the start, after a fault, where another process has written."""
        self._hints.everywhere = True
        self.position = max(self.position, position)
        self._something.set()

    def wake(self) -> None:
        """There is something to do again: a service has taken what it was pushed."""
        self._something.set()

    async def wait(self, timeout: float) -> bool:
        """Until there is something, `timeout` seconds at most; says whether there is."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._something.wait()
        return self._something.is_set()

    def take(self) -> Hints:
        """What has gathered; from now on it gathers anew."""
        hints, self._hints = self._hints, Hints()
        hints.position = self.position
        self._something.clear()
        return hints
