"""Who waits for what: wakes syncs after commits, and knows without a query that nothing is new for a user.

For each *active* user (one who syncs) it keeps the joined rooms and the last position that touched the user. A commit
touches users by number and, through their joined rooms, by room. A position before `floor` of an active user
is from before we watched: then only the database knows. Nothing here is needed for correctness of data: a lost
wake-up costs the rest of a long poll.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable

from attrs import define, field

from storage.committer import Committed

MAX_ACTIVE_USERS = 50_000


@define(eq=False)
class ActiveUser:
    """A user whose syncs we serve."""

    user_nid: int
    floor: int
    touched: int = 0
    rooms: set[int] = field(factory=set)
    waiters: set["asyncio.Future[None]"] = field(factory=set)
    loading: dict[int, bool] | None = None  # room_nid -> joined, seen while the rooms were being read

    def is_quiet_since(self, position: int) -> bool:
        """Is there surely nothing new for the user after `position`?"""
        return position >= self.floor and position >= self.touched


LoadRooms = Callable[[int], Awaitable[Iterable[int]]]


@define(eq=False)
class Notifier:
    """The position that this process has seen committed, and everybody who waits for more."""

    load_rooms: LoadRooms
    position: int = 0
    _users: OrderedDict[int, ActiveUser] = field(factory=OrderedDict)
    _in_room: dict[int, set[ActiveUser]] = field(factory=dict)

    @property
    def waiting(self) -> int:
        """How many syncs wait now."""
        return sum(len(user.waiters) for user in self._users.values())

    @property
    def active_users(self) -> int:
        """How many users are watched."""
        return len(self._users)

    async def active(self, user_nid: int) -> ActiveUser:
        """The user's record, read from the database the first time."""
        user = self._users.get(user_nid)
        if user is not None and user.loading is None:
            self._users.move_to_end(user_nid)
            return user
        if user is None:
            user = ActiveUser(user_nid, floor=self.position, loading={})
            self._users[user_nid] = user
            self._evict()
        rooms = set(await self.load_rooms(user_nid))
        if user.loading is not None:  # the first of several concurrent loads ends it
            seen, user.loading = user.loading, None
            rooms = (rooms | {nid for nid, joined in seen.items() if joined}) - {
                nid for nid, joined in seen.items() if not joined
            }
            for nid in rooms:
                self._in_room.setdefault(nid, set()).add(user)
            user.rooms = rooms
            user.floor = max(user.floor, self.position)
        return user

    def membership(self, user_nid: int, room_nid: int, *, joined: bool) -> None:
        """One of our users has joined or left a room: to be told before the commit that did it is announced."""
        user = self._users.get(user_nid)
        if user is None:
            return
        if user.loading is not None:
            user.loading[room_nid] = joined
        elif joined:
            user.rooms.add(room_nid)
            self._in_room.setdefault(room_nid, set()).add(user)
        else:
            self._leave(user, room_nid)

    def announce(self, position: int, commits: Iterable[Committed]) -> None:
        """Everything up to `position` is committed; wake whom the commits touch."""
        self.position = max(self.position, position)
        for commit in commits:
            for user_nid in commit.touched.users:
                user = self._users.get(user_nid)
                if user is not None:
                    self._touch(user)
            for room_nid in commit.touched.rooms:
                for user in self._in_room.get(room_nid, ()):
                    self._touch(user)

    async def wait(self, user: ActiveUser, since: int, timeout: float) -> bool:
        """Until something after `since` touches the user, `timeout` seconds at most; says whether it did."""
        if not user.is_quiet_since(since):
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        user.waiters.add(waiter)
        try:
            await asyncio.wait_for(waiter, timeout)
        except TimeoutError:
            return False
        finally:
            user.waiters.discard(waiter)
        return True

    def _touch(self, user: ActiveUser) -> None:
        user.touched = self.position
        for waiter in user.waiters:
            if not waiter.done():
                waiter.set_result(None)
        user.waiters.clear()

    def _leave(self, user: ActiveUser, room_nid: int) -> None:
        user.rooms.discard(room_nid)
        members = self._in_room.get(room_nid)
        if members is not None:
            members.discard(user)
            if not members:
                del self._in_room[room_nid]

    def _evict(self) -> None:
        """Forget who has not synced for longest, except who waits right now."""
        for user_nid in list(self._users)[: max(0, len(self._users) - MAX_ACTIVE_USERS)]:
            user = self._users[user_nid]
            if not user.waiters and user.loading is None:
                for room_nid in list(user.rooms):
                    self._leave(user, room_nid)
                del self._users[user_nid]
