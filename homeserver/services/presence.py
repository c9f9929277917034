"""Presence: who is online, by their syncs and by what they say of themselves [cs "Presence"].

A user is online while one of their clients syncs, and offline some time after the last sync ended. Only changes are
written. That a sync starts or ends costs no query.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from attrs import define, field, frozen

from homeserver.core.errors import forbidden
from homeserver.services.background import Background
from homeserver.services.notifier import Notifier
from homeserver.services.now import now_ms
from storage import presence as rows
from storage.committer import Committer, Kind, Touched
from storage.database import Connection, Database
from storage.memberships import rooms_of, share_room
from storage.presence import Presence
from storage.state_keys import StateKeys, user_key

OFFLINE_AFTER = 30.0  # seconds without a sync
SWEEP_EVERY = 5.0
COALESCE = 0.5  # seconds in which comings and goings gather: everybody who sees them wakes once

STATES = ("online", "offline", "unavailable")
REFRESH = 60_000  # milliseconds: users who just stay online are written at most so often

KEEP = object()  # the status message stays what it is


@frozen
class Told:
    """What another server says of one of its users."""

    state: str
    status_msg: str | None
    last_active_ts: int


@define(eq=False)
class Tracked:
    """A user whose clients sync, or did until just now."""

    state: str | None
    syncs: int = 0
    last: float = 0.0  # of the loop's clock, when the last sync ended


@frozen(eq=False)
class Presences:
    """Keeps presence of our users."""

    database: Database
    committer: Committer
    notifier: Notifier
    state_keys: StateKeys
    background: Background
    _tracked: dict[int, Tracked] = field(factory=dict)
    _noted: dict[int, str | None] = field(factory=dict)  # what syncs made of users, not yet written

    @asynccontextmanager
    async def syncing(self, user_nid: int, state: str | None) -> AsyncIterator[None]:
        """While a client syncs. `state` is what it wants the user to be; None: online if they were offline."""
        if state == "offline":
            yield
            return
        tracked = self._tracked.get(user_nid)
        if tracked is None:
            tracked = self._tracked[user_nid] = Tracked(state)
            self._sweep_later()
            self._note(user_nid, state)
        elif state is not None and state != tracked.state:
            tracked.state = state
            self._note(user_nid, state)
        tracked.syncs += 1
        try:
            yield
        finally:
            tracked.syncs -= 1
            tracked.last = asyncio.get_running_loop().time()

    async def put(self, user_nid: int, state: str, status: str | None = None) -> None:
        """What a user says to be from now on."""
        tracked = self._tracked.get(user_nid)
        if tracked is not None:
            tracked.state = state
        self._noted.pop(user_nid, None)
        await self._write({user_nid: (state, status)})

    async def seen_by(self, reader_nid: int, user_id: str) -> Presence | None:
        """What a user may know of another; None: offline as far as we know. M_FORBIDDEN without a common room."""
        async with self.database.read() as conn:
            key = user_key(user_id)
            user_nid = (await self.state_keys.find(conn, [key])).get(key)
            if user_nid is None or (
                user_nid != reader_nid and not await share_room(conn, reader_nid, user_nid)
            ):
                raise forbidden("You are not allowed to see their presence")
            return (await rows.of_users(conn, [user_nid])).get(user_nid)

    async def take(self, told: Mapping[str, Told]) -> None:
        """What other servers say of their users; who shares no room with us is nobody we know."""
        async with self.database.read() as conn:
            found = await self.state_keys.find(conn, [user_key(user_id) for user_id in told])
            rooms = await rooms_of(conn, found.values())
            known = await rows.of_users(conn, rooms)
        users = {found[user_key(user_id)]: one for user_id, one in told.items() if user_key(user_id) in found}
        news = [
            Presence(user_nid, one.state, one.status_msg, one.last_active_ts)
            for user_nid, one in users.items()
            if user_nid in rooms and _is_news(one, known.get(user_nid))
        ]
        touched = {room for new in news for room in rooms[new.user_nid]}
        if news:
            await self._store(news, Touched((), tuple(touched), Kind.PRESENCE))

    def _note(self, user_nid: int, state: str | None) -> None:
        """To be written soon, with what else is noted by then."""
        if not self._noted:
            self.background.later(COALESCE, self._write_noted)
        self._noted[user_nid] = state

    async def _write_noted(self) -> None:
        noted = dict(self._noted)
        self._noted.clear()
        await self._write({user_nid: (state, KEEP) for user_nid, state in noted.items()})

    async def _write(self, changes: Mapping[int, tuple[str | None, object]]) -> None:
        """Write what is different from what is known. No state: online, unless the user said something else before."""
        async with self.database.read() as conn:
            known = await rows.of_users(conn, changes)
        now = now_ms()
        news = [
            new
            for user_nid, (state, status) in changes.items()
            if (new := _changed(user_nid, known.get(user_nid), state, status, now)) is not None
        ]
        if not news:
            return
        users = tuple(new.user_nid for new in news)
        rooms = {room for user_nid in users for room in (await self.notifier.active(user_nid)).rooms}
        await self._store(news, Touched(users, tuple(rooms), Kind.PRESENCE))

    async def _store(self, news: list[Presence], touched: Touched) -> None:
        async def job(conn: Connection, position: int) -> None:
            await rows.put(conn, position, news)

        await self.committer.run(job, touched)

    def _sweep_later(self) -> None:
        if len(self._tracked) == 1:  # a sweep is due as long as anybody is tracked
            self.background.later(SWEEP_EVERY, self._sweep)

    async def _sweep(self) -> None:
        """Whoever has not synced for long enough is offline."""
        loop = asyncio.get_running_loop()
        for user_nid, tracked in list(self._tracked.items()):
            if tracked.syncs == 0 and loop.time() - tracked.last > OFFLINE_AFTER:
                del self._tracked[user_nid]
                self._note(user_nid, "offline")
        if self._tracked:
            self.background.later(SWEEP_EVERY, self._sweep)


def _changed(
    user_nid: int, known: Presence | None, state: str | None, status: object, now: int
) -> Presence | None:
    """The new presence, if it is one."""
    before = known.state if known is not None else "offline"
    message = known.status_msg if known is not None else None
    after = state or ("online" if before == "offline" else before)
    told = message if status is KEEP else (status if isinstance(status, str) else None)
    if known is not None and (before, message) == (after, told):
        return None
    active = now if after == "online" or known is None else known.last_active_ts
    return Presence(user_nid, after, told, active)


def _is_news(told: Told, known: Presence | None) -> bool:
    """Is it worth writing, and waking everybody who sees the user?"""
    if known is None:
        return told.state != "offline" or told.status_msg is not None
    if (told.state, told.status_msg) != (known.state, known.status_msg):
        return True
    return told.last_active_ts - known.last_active_ts > REFRESH
