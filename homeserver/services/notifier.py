"""Who waits for what: wakes syncs after commits, and knows without a query that nothing is new for a user.

For each *active* user (one who syncs) it keeps the joined rooms and the last position that touched the user. A commit
touches users by number and, through their joined rooms, by room. A position before `floor` of an active user
is from before we watched: then only the database knows. A lost wake-up costs the rest of a long poll.

Touches are told apart by kind, for users and for rooms, so that a sync asks the database for receipts only when there
was a receipt. Positions are those at which a commit's turn ended: tokens are never within a turn.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from attrs import define, field

from homeserver.core.unwanted import InviteRules
from storage.committer import Committed, Kind

MAX_ACTIVE_USERS = 50_000

_CAN_WAIT = {Kind.PRESENCE}
_MAY_CHANGE_IGNORED = (Kind.ACCOUNT_DATA, Kind.ANYTHING)
_MAY_CHANGE_PEEKS = (Kind.PEEKS, Kind.ANYTHING)
_MAY_CHANGE_KEY_COUNTS = (Kind.KEY_COUNTS, Kind.DEVICE_LISTS, Kind.ANYTHING)


@define(eq=False)
class Marks:
    """Where each kind of thing last happened."""

    last: dict[Kind, int] = field(factory=dict)

    def since(self, position: int) -> set[Kind]:
        """The kinds of which something happened after `position`."""
        return {kind for kind, last in self.last.items() if last > position}


@define(eq=False)
class ActiveUser:
    """A user whose syncs we serve.

    `rooms` says for each joined room from where on we know the user to be in it without a break; `fresh` has the rooms
    that something happened in since `floor`, the latest last; `marks` is what concerned the user without a room.
    `peeking` has, of each device that looks into rooms from outside, somebody who is in them instead.
    """

    user_nid: int
    floor: int
    touched: int = 0
    rooms: dict[int, int] = field(factory=dict)
    fresh: dict[int, int] = field(factory=dict)
    marks: Marks = field(factory=Marks)
    ignored: frozenset[str] | None = None  # whom the user ignores, once a sync has read it
    invite_rules: InviteRules = field(factory=InviteRules)  # read together with `ignored`
    keys_counted: int = 0  # where keys of the user's devices last came or went
    waiters: set["asyncio.Future[None]"] = field(factory=set)
    outdated: bool = False  # `rooms` must be read again
    loading: dict[int, bool] | None = None  # room_nid -> joined, seen while the rooms were being read
    peeking: "dict[int, ActiveUser] | None" = None  # None: nobody has read yet whether any device does

    def is_quiet_since(self, position: int) -> bool:
        """Is there surely nothing new for the user after `position`?"""
        return position >= self.floor and position >= self.touched

    def fresh_since(self, position: int) -> list[int]:
        """The joined rooms in which something happened after `position`, which must not be before `floor`."""
        found = []
        for room_nid, last in reversed(self.fresh.items()):
            if last <= position:
                break
            found.append(room_nid)
        return found


@define(eq=False)
class WatchedRoom:
    """A room that active users are in, and what happened in it since the first of them came."""

    users: set[ActiveUser] = field(factory=set)
    marks: Marks | None = None  # nothing has: a user of thousands of rooms brings that many


LoadRooms = Callable[[int], Awaitable[Iterable[int]]]


@define(eq=False)
class Notifier:
    """The position that this process has seen committed, and everybody who waits for more."""

    load_rooms: LoadRooms
    position: int = 0
    _users: OrderedDict[int, ActiveUser] = field(factory=OrderedDict)
    _rooms: dict[int, WatchedRoom] = field(factory=dict)
    _onlookers: set[ActiveUser] = field(factory=set)

    @property
    def waiting(self) -> int:
        """How many syncs wait now."""
        return sum(len(user.waiters) for user in (*self._users.values(), *self._onlookers))

    @property
    def active_users(self) -> int:
        """How many users are watched."""
        return len(self._users)

    async def active(self, user_nid: int) -> ActiveUser:
        """The user's record, read from the database the first time."""
        user = self._users.get(user_nid)
        if user is not None and user.loading is None and not user.outdated:
            self._users.move_to_end(user_nid)
            return user
        if user is None:
            user = ActiveUser(user_nid, floor=self.position, loading={})
            self._users[user_nid] = user
            self._evict()
        elif user.loading is None:
            user.loading, user.outdated = {}, False
        rooms = set(await self.load_rooms(user_nid))
        if user.loading is not None:  # the first of several concurrent loads ends it
            seen, user.loading = user.loading, None
            rooms = (rooms | {nid for nid, joined in seen.items() if joined}) - {
                nid for nid, joined in seen.items() if not joined
            }
            user.floor = max(user.floor, self.position)
            for nid in user.rooms.keys() - rooms:
                self._leave(user, nid)
            for nid in rooms:
                self._join(user, nid, user.floor)
        return user

    def room_marks(self, room_nid: int) -> Marks:
        """What happened in a room of an active user."""
        room = self._rooms.get(room_nid)
        return Marks() if room is None or room.marks is None else room.marks

    def kinds_since(self, user: ActiveUser, since: int, now: int) -> set[Kind]:
        """What may have happened to the user in (since, now]: what the marks name, if they tell all of that."""
        if since < user.floor or now > self.position:
            return set(Kind)
        kinds = user.marks.since(since)
        for room_nid in user.fresh_since(since):
            kinds |= self.room_marks(room_nid).since(since)
        return set(Kind) if Kind.ANYTHING in kinds else kinds

    def membership(self, user_nid: int, room_nid: int, *, joined: bool) -> None:
        """One of our users has joined or left a room: to be told before the commit that did it is announced."""
        user = self._users.get(user_nid)
        if user is None:
            return
        if user.loading is not None:
            user.loading[room_nid] = joined
        elif joined:
            self._join(user, room_nid, self.position + 1)  # no token stands before the join and after this
        else:
            self._leave(user, room_nid)

    def announce(self, position: int, commits: Iterable[Committed]) -> None:
        """Everything up to `position` is committed; wake whom the commits touch."""
        self.position = max(self.position, position)
        for commit in commits:
            kind = Kind.EVENTS if commit.batch is not None else commit.touched.kind
            if kind is Kind.PUSH_RULES:
                kind = Kind.ACCOUNT_DATA
            for user_nid in commit.touched.users:
                user = self._users.get(user_nid)
                if user is not None:
                    if kind in _MAY_CHANGE_KEY_COUNTS:
                        user.keys_counted = self.position
                    if kind is Kind.KEY_COUNTS:
                        continue
                    user.marks.last[kind] = self.position
                    if kind in _MAY_CHANGE_IGNORED:
                        user.ignored = None
                    if kind in _MAY_CHANGE_PEEKS:
                        self._look_away(user)
                    self._touch(user)
            for room_nid in commit.touched.rooms:
                self._touch_room(room_nid, kind)

    def missed(self, position: int) -> None:
        """Nobody told us of all that is committed up to `position`: only the database knows whom it concerns."""
        self.position = max(self.position, position)
        for user in (*self._users.values(), *self._onlookers):
            user.floor, user.outdated = self.position, True
            self._look_away(user)
            self._touch(user)

    @contextmanager
    def onlooker(self, user_nid: int, room_nid: int) -> Iterator[ActiveUser]:
        """Somebody who looks into one room for a while, whether they are in it or not."""
        user = ActiveUser(user_nid, floor=self.position)
        self._join(user, room_nid, self.position)
        self._onlookers.add(user)
        try:
            yield user
        finally:
            self._onlookers.discard(user)
            self._leave(user, room_nid)

    def look_on(self, user: ActiveUser, rooms: Mapping[int, Iterable[int]]) -> None:
        """What devices of an active user look into from outside wakes these devices, too."""
        self._look_away(user)
        user.peeking = {}
        for device_nid, room_nids in rooms.items():
            peeker = user.peeking[device_nid] = ActiveUser(user.user_nid, floor=self.position)
            for room_nid in room_nids:
                self._join(peeker, room_nid, self.position)

    def look_again(self, user: ActiveUser) -> None:
        """Who of the user's devices looks where has changed: their syncs find out."""
        self._look_away(user)
        self._touch(user)

    async def wait(
        self, user: ActiveUser, since: int, timeout: float, *, peeker: ActiveUser | None = None
    ) -> bool:
        """Until something after `since` touches the user, `timeout` seconds at most; says whether it did."""
        touched = (user,) if peeker is None else (user, peeker)
        if not all(one.is_quiet_since(since) for one in touched):
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for one in touched:
            one.waiters.add(waiter)
        try:
            await asyncio.wait_for(waiter, timeout)
        except TimeoutError:
            return False
        finally:
            for one in touched:
                one.waiters.discard(waiter)
        return True

    async def lull(self, user: ActiveUser, since: int, seconds: float) -> None:
        """Presence that comes alone can wait for more of it, `seconds` at most; anything else ends the lull."""
        clock = asyncio.get_running_loop()
        until = clock.time() + seconds
        while self.kinds_since(user, since, self.position) == _CAN_WAIT:
            remaining = until - clock.time()
            if remaining <= 0 or not await self.wait(user, self.position, remaining):
                return

    def _touch(self, user: ActiveUser) -> None:
        user.touched = self.position
        for waiter in user.waiters:
            if not waiter.done():
                waiter.set_result(None)
        user.waiters.clear()

    def _touch_room(self, room_nid: int, kind: Kind) -> None:
        room = self._rooms.get(room_nid)
        if room is None:
            return
        if room.marks is None:
            room.marks = Marks()
        room.marks.last[kind] = self.position
        for user in room.users:
            user.fresh.pop(room_nid, None)  # so that the latest stands last
            user.fresh[room_nid] = self.position
            self._touch(user)

    def _join(self, user: ActiveUser, room_nid: int, position: int) -> None:
        """The user is in the room, for all we know from `position` on."""
        user.rooms[room_nid] = position
        room = self._rooms.get(room_nid)
        if room is None:
            room = self._rooms[room_nid] = WatchedRoom()
        room.users.add(user)

    def _leave(self, user: ActiveUser, room_nid: int) -> None:
        user.rooms.pop(room_nid, None)
        user.fresh.pop(room_nid, None)
        room = self._rooms.get(room_nid)
        if room is not None:
            room.users.discard(user)
            if not room.users:
                del self._rooms[room_nid]

    def _look_away(self, user: ActiveUser) -> None:
        """What the user's devices look into must be read again."""
        for peeker in (user.peeking or {}).values():
            for room_nid in list(peeker.rooms):
                self._leave(peeker, room_nid)
        user.peeking = None

    def _evict(self) -> None:
        """Forget who has not synced for longest, except who waits right now."""
        if len(self._users) <= MAX_ACTIVE_USERS:
            return
        for user_nid in list(self._users)[: MAX_ACTIVE_USERS // 100]:
            user = self._users[user_nid]
            if not user.waiters and user.loading is None:
                self._look_away(user)
                for room_nid in list(user.rooms):
                    self._leave(user, room_nid)
                del self._users[user_nid]
