"""What was committed since a follower of the clock looked last: commits tell it, the follower takes it.

A follower reads what is new from the database and keeps its own bookmark; this only says that, and in which rooms,
there is something to read, so that nobody polls. What commits of other processes did is not told: it shows as a hole
in the numbers, and then the follower has to look everywhere.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from attrs import define, field, frozen

from storage.committer import Committed, Kind
from storage.room_batches import MEMBERSHIPS, RoomBatch

_JOIN = MEMBERSHIPS["join"]


@frozen
class Entered:
    """Who came into a room (or changed their name there), and how long its main line was before."""

    before: int
    users: frozenset[int]


@frozen
class News:
    """Everything up to `position` is committed. `everywhere`: it was not told in which rooms.

    `befores` has, of the rooms with new events, how long their main line was before, where from there on nobody but our
    own users came or went. `entered` has the rooms that somebody came into, if the follower asked for it.
    """

    position: int
    everywhere: bool
    lengths: dict[int, int]  # rooms with new events -> the length of their main line
    rooms: dict[Kind, set[int]]
    kinds: set[Kind]
    befores: dict[int, int] = field(factory=dict)
    entered: dict[int, Entered] = field(factory=dict)


@define(eq=False)
class CommitNews:
    """Gathers for one follower; `wants` says which rooms' batches it cares for, `members` who comes into any room."""

    wants: Callable[[RoomBatch], bool]
    position: int = 0
    members: bool = False
    _everywhere: bool = True  # nobody has told what was before
    _lengths: dict[int, int] = field(factory=dict)
    _befores: dict[int, int] = field(factory=dict)
    _entered: dict[int, Entered] = field(factory=dict)
    _rooms: dict[Kind, set[int]] = field(factory=dict)
    _kinds: set[Kind] = field(factory=set)
    _something: asyncio.Event = field(factory=asyncio.Event)

    def heard(self, position: int, commits: Sequence[Committed]) -> None:
        """To be called after each turn of the committer, in commit order."""
        if commits[0].first > self.position + 1:
            self._everywhere = True
        for commit in commits:
            self._note(commit)
        self.position = max(self.position, position)
        self._something.set()

    def look_everywhere(self, position: int) -> None:
        """All up to `position` may be new: at the start, after a fault, where another process has written."""
        self._everywhere = True
        self.position = max(self.position, position)
        self._something.set()

    async def wait(self, timeout: float) -> None:
        """Until there is something new, `timeout` seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):  # wait_for may lose a cancellation that comes with the news
                await self._something.wait()

    def take(self) -> News:
        """What has gathered; from now on it gathers anew."""
        news = News(
            self.position,
            self._everywhere,
            self._lengths,
            self._rooms,
            self._kinds,
            self._befores,
            self._entered,
        )
        self._everywhere, self._lengths, self._rooms, self._kinds = False, {}, {}, set()
        self._befores, self._entered = {}, {}
        self._something.clear()
        return news

    def _note(self, commit: Committed) -> None:
        if commit.batch is not None:
            if self.wants(commit.batch):
                self._grown(commit.batch)
            if self.members:
                self._entering(commit.batch)
            return
        self._kinds.add(commit.touched.kind)
        if commit.touched.elsewhere is not None:
            self._kinds.add(commit.touched.elsewhere)
        if commit.touched.rooms:
            self._rooms.setdefault(commit.touched.kind, set()).update(commit.touched.rooms)

    def _grown(self, batch: RoomBatch) -> None:
        room_nid, before = batch.room_nid, batch.head.sp - len(batch.state)
        if room_nid not in self._lengths:
            self._befores[room_nid] = before
        elif self._lengths[room_nid] != before:  # another process has written in between
            self._befores.pop(room_nid, None)
        if not _moves_ours_alone(batch):
            self._befores.pop(room_nid, None)
        self._lengths[room_nid] = batch.head.sp

    def _entering(self, batch: RoomBatch) -> None:
        came = frozenset(change.key_nid for change in batch.state if change.membership == _JOIN)
        if came:
            start = Entered(batch.head.sp - len(batch.state), frozenset())
            earlier = self._entered.get(batch.room_nid, start)
            self._entered[batch.room_nid] = Entered(earlier.before, earlier.users | came)


def _moves_ours_alone(batch: RoomBatch) -> bool:
    """Is everybody whose membership the batch changes one of our users?"""
    members = {change.key_nid for change in batch.state if change.membership is not None}
    return members <= {change.user_nid for change in batch.memberships}
