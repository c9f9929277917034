"""Presence: who is online, by their syncs, by what they do and by what they say of themselves [cs "Presence"].

Theory of operation. Devices that sync are tracked in memory, so that a sync costs no query; only changes are written,
those of half a second together. What is written holds for a while only: `sweep` prolongs it for who is still there, and
whatever was not prolonged (a process that has ended, another server that fell silent) becomes offline. That an active
user is still active is written without waking anybody [cs "Last active ago"].
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NoReturn

import structlog
from attrs import define, evolve, field, frozen

from homeserver.core.errors import forbidden
from homeserver.core.presence import OFFLINE, ONLINE
from homeserver.services.background import Background
from homeserver.services.now import Clock, now_ms
from homeserver.services.presence_devices import Tracked
from storage import presence as rows
from storage.committer import Committer, Kind, Touched
from storage.database import Connection, Database, Unavailable
from storage.memberships import rooms_of, share_room
from storage.presence import Presence
from storage.state_keys import StateKeys, user_key

log = structlog.get_logger(__name__)

SWEEP_EVERY = 5.0
COALESCE = 0.5  # seconds in which comings and goings gather: everybody who sees them wakes once
REFRESH = 60_000  # milliseconds: users who just stay online are written at most so often
OURS_HOLDS = 3 * REFRESH
THEIRS_HOLDS = 35 * 60_000  # other servers repeat themselves within half an hour
REPEAT = 25 * 60_000  # so often others are told that nothing has changed, or they would think us silent
SPREAD = 5 * 60_000  # not all users at once
AT_ONCE = 1_000  # users that are looked at without letting others have a turn
NO_DEVICE = 0

KEEP = object()  # the status message stays what it is


@frozen
class Told:
    """What another server says of one of its users."""

    state: str
    status_msg: str | None
    last_active_ts: int
    currently_active: bool = False


@define(eq=False)
class Presences:
    """Keeps presence of our users, and remembers that of others'."""

    database: Database
    committer: Committer
    state_keys: StateKeys
    background: Background
    clock: Clock = now_ms
    _tracked: dict[int, Tracked] = field(factory=dict)
    _noted: set[int] = field(factory=set)  # users whose presence is to be written soon
    _prolonged: int = 0

    @asynccontextmanager
    async def syncing(self, user_nid: int, device_nid: int | None, state: str | None) -> AsyncIterator[None]:
        """While a client syncs. `state` is what it wants the user to be; None: online if they were offline."""
        if state == OFFLINE:
            yield
            return
        device = self._track(user_nid).device(device_nid or NO_DEVICE, state, self.clock())
        device.syncs += 1
        self._look(user_nid)
        try:
            yield
        finally:
            device.syncs -= 1
            device.last = self.clock()

    def active(self, user_nid: int) -> None:
        """The user has just done something [cs "Last active ago"]."""
        tracked = self._tracked.get(user_nid)
        if tracked is not None:
            tracked.active_ts = self.clock()
            self._look(user_nid)

    async def put(
        self, user_nid: int, state: str, status: str | None = None, *, device_nid: int | None = None
    ) -> None:
        """What a user says to be from now on."""
        now = self.clock()
        tracked = self._track(user_nid)
        tracked.device(device_nid or NO_DEVICE, state, now)
        if state == ONLINE:
            tracked.active_ts = now
        await self._write({user_nid: status})

    async def seen_by(self, reader_nid: int, user_id: str) -> Presence | None:
        """What a user may know of another; None: offline as far as we know. M_FORBIDDEN without a common room."""
        async with self.database.read() as conn:
            key = user_key(user_id)
            user_nid = (await self.state_keys.find(conn, [key])).get(key)
            if user_nid is None or (
                user_nid != reader_nid and not await share_room(conn, reader_nid, user_nid)
            ):
                raise forbidden("You are not allowed to see their presence")
            found = (await rows.of_users(conn, [user_nid])).get(user_nid)
        tracked = self._tracked.get(user_nid)
        if found is None or tracked is None:
            return found
        return evolve(found, last_active_ts=max(found.last_active_ts, tracked.active_ts))

    async def take(self, told: Mapping[str, Told]) -> frozenset[str]:
        """What other servers say of their users; gives those who share no room with us: nobody we know."""
        async with self.database.read() as conn:
            found = await self.state_keys.find(conn, [user_key(user_id) for user_id in told])
            rooms = await rooms_of(conn, found.values())
            known = await rows.of_users(conn, rooms)
        users = {found[user_key(user_id)]: one for user_id, one in told.items() if user_key(user_id) in found}
        heard = [
            Presence(user_nid, one.state, one.status_msg, one.last_active_ts, one.currently_active)
            for user_nid, one in users.items()
            if user_nid in rooms
        ]
        news = [one for one in heard if _is_news(one, known.get(one.user_nid))]
        told_again = {one.user_nid for one in heard if one.user_nid in known} - {one.user_nid for one in news}
        if told_again:
            async with self.database.writer() as conn:
                await rows.prolong(conn, told_again, self.clock() + THEIRS_HOLDS)
        if news:
            touched = {room for new in news for room in rooms[new.user_nid]}
            await self._store(news, Touched((), tuple(touched), Kind.PRESENCE), THEIRS_HOLDS)
        return frozenset(told) - {user_id for user_id in told if found.get(user_key(user_id)) in rooms}

    def unwritten(self) -> dict[int, Presence]:
        """What users are whose change waits to be written, without their status messages."""
        now = self.clock()
        states = {nid: self._tracked[nid] for nid in self._noted if nid in self._tracked}
        return {nid: _as_row(nid, tracked, None, KEEP, now) for nid, tracked in states.items()}

    async def run(self) -> NoReturn:
        """Let time pass, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            try:
                await self.sweep()
            except (Unavailable, TimeoutError) as cause:
                log.warning("presence waits for the database", cause=repr(cause))
            except Exception:  # a defect must not leave everybody online for ever
                log.exception("presence could not be looked over")

    async def sweep(self) -> None:
        """Who has gone is offline, who does nothing is idle, and what holds is prolonged from time to time."""
        now = self.clock()
        repeat: set[int] = set()
        for index, (user_nid, tracked) in enumerate(list(self._tracked.items())):
            if index % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            tracked.forget_gone(now)
            self._look(user_nid)
            if tracked.devices and now - tracked.written_ts >= REPEAT + user_nid * 7919 % SPREAD:
                repeat.add(user_nid)
            elif not tracked.devices and tracked.written == OFFLINE and user_nid not in self._noted:
                del self._tracked[user_nid]
        if now - self._prolonged >= REFRESH:
            self._prolonged = now
            await self._prolong(now)
            await self._expire(now)
        if repeat:
            await self._write(dict.fromkeys(repeat, KEEP), repeat=True)

    def _track(self, user_nid: int) -> Tracked:
        tracked = self._tracked.get(user_nid)
        if tracked is None:
            tracked = self._tracked[user_nid] = Tracked(self.clock())
        return tracked

    def _look(self, user_nid: int) -> None:
        """If the user is not what others were told, that is written soon, with what else is noted by then."""
        tracked = self._tracked[user_nid]
        if user_nid in self._noted or tracked.state(self.clock()) == tracked.written:
            return
        if not self._noted:
            self.background.later(COALESCE, self._write_noted)
        self._noted.add(user_nid)

    async def _write_noted(self) -> None:
        noted, self._noted = self._noted, set()
        await self._write(dict.fromkeys(noted, KEEP))

    async def _write(self, statuses: Mapping[int, object], *, repeat: bool = False) -> None:
        """Write what users are now and their status messages, as far as it differs from what is known."""
        async with self.database.read() as conn:
            known = await rows.of_users(conn, statuses)
            rooms = {} if repeat else await rooms_of(conn, statuses)
        now, news = self.clock(), []
        for user_nid, status in statuses.items():
            tracked = self._tracked.get(user_nid)
            if tracked is None:
                continue
            new = _as_row(user_nid, tracked, known.get(user_nid), status, now)
            tracked.written, tracked.written_ts = new.state, now
            if repeat or _differs(new, known.get(user_nid)):
                news.append(new)
        if news:
            nids = [new.user_nid for new in news]
            touched = tuple({room for nid in nids for room in rooms.get(nid, ())})
            await self._store(
                news, Touched(() if repeat else tuple(nids), touched, Kind.PRESENCE), OURS_HOLDS
            )

    def _written(self, news: list[Presence], now: int) -> None:
        for new in news:
            tracked = self._tracked.get(new.user_nid)
            if tracked is not None:
                tracked.written, tracked.written_ts = new.state, now

    async def _store(self, news: list[Presence], touched: Touched, holds: int) -> None:
        async def job(conn: Connection, position: int) -> None:
            await rows.put(conn, position, news, self.clock() + holds)

        await self.committer.run(job, touched)

    async def _prolong(self, now: int) -> None:
        there = {
            user_nid: tracked.active_ts for user_nid, tracked in self._tracked.items() if tracked.devices
        }
        if there:
            async with self.database.writer() as conn:
                await rows.prolong_active(conn, there, now + OURS_HOLDS)

    async def _expire(self, now: int) -> None:
        """What nobody has prolonged is over."""
        async with self.database.read() as conn:
            over = await rows.outdated(conn, now)
            rooms = await rooms_of(conn, over) if over else {}
        if not over:
            return

        async def job(conn: Connection, position: int) -> None:
            await rows.end(conn, position, over, now)

        touched = {room for found in rooms.values() for room in found}
        await self.committer.run(job, Touched(tuple(over), tuple(touched), Kind.PRESENCE))


def _as_row(user_nid: int, tracked: Tracked, known: Presence | None, status: object, now: int) -> Presence:
    message = (known.status_msg if known else None) if status is KEEP else status
    state = tracked.state(now)
    told = message if isinstance(message, str) else None
    return Presence(user_nid, state, told, tracked.active_ts, state == ONLINE)


def _differs(new: Presence, known: Presence | None) -> bool:
    before = (known.state, known.status_msg) if known is not None else (OFFLINE, None)
    return before != (new.state, new.status_msg)


def _is_news(told: Presence, known: Presence | None) -> bool:
    """Is it worth writing, and waking everybody who sees the user?"""
    if known is None or _differs(told, known) or told.currently_active != known.currently_active:
        return known is not None or _differs(told, None)
    # Who is active anyhow is told no more about it [cs "Last active ago"].
    return not told.currently_active and told.last_active_ts - known.last_active_ts > REFRESH
