"""Where something was committed that pushers may have to tell: rooms, and users of whom no room is told."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from attrs import define, field, frozen

from storage.committer import Committed, Kind
from storage.room_batches import MEMBERSHIPS

INVITE = MEMBERSHIPS["invite"]
_OF_USERS = (Kind.EVENTS, Kind.RECEIPTS, Kind.ACCOUNT_DATA, Kind.ANYTHING)


@frozen
class PushWork:
    """Everything up to `position` is committed. `told` rooms have notifications, in `read` ones somebody has read."""

    position: int
    everywhere: bool
    told: frozenset[int]
    read: frozenset[int]
    users: frozenset[int]


@define(eq=False)
class PushNews:
    """Gathers for the push sender."""

    position: int = 0
    _everywhere: bool = True  # nobody has told what was before
    _told: set[int] = field(factory=set)
    _read: set[int] = field(factory=set)
    _users: set[int] = field(factory=set)
    _something: asyncio.Event = field(factory=asyncio.Event)

    def heard(self, position: int, commits: Sequence[Committed]) -> None:
        """To be called after each turn of the committer, in commit order."""
        if commits[0].before > self.position:
            self._everywhere = True
        for commit in commits:
            self._note(commit)
        self.position = max(self.position, position)
        if self._told or self._read or self._users or self._everywhere:
            self._something.set()

    def look_everywhere(self, position: int) -> None:
        """All up to `position` may be new: at the start, after a fault."""
        self._everywhere = True
        self.position = max(self.position, position)
        self._something.set()

    def set_up(self, user_nid: int) -> None:
        """A user has other pushers now."""
        self._users.add(user_nid)
        self._something.set()

    async def wait(self, timeout: float) -> None:
        """Until there is something, `timeout` seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._something.wait()

    def take(self) -> PushWork:
        """What has gathered; from now on it gathers anew."""
        work = PushWork(
            self.position,
            self._everywhere,
            frozenset(self._told),
            frozenset(self._read),
            frozenset(self._users),
        )
        self._everywhere = False
        self._told, self._read, self._users = set(), set(), set()
        self._something.clear()
        return work

    def _note(self, commit: Committed) -> None:
        if commit.batch is not None:
            if commit.batch.notices:
                self._told.add(commit.batch.room_nid)
                invited = (one for one in commit.batch.memberships if one.membership == INVITE)
                self._users.update(one.user_nid for one in invited)
            return
        if commit.touched.kind is Kind.RECEIPTS:
            self._read.update(commit.touched.rooms)
        if commit.touched.kind in _OF_USERS:
            self._users.update(commit.touched.users)
