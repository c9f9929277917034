"""Presence: who is online, by their syncs and by what they say of themselves [cs "Presence"].

A user is online while one of their clients syncs, and offline some time after the last sync ended. Only changes are
written. That a sync starts or ends costs no query.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from attrs import define, field, frozen

from homeserver.core.errors import forbidden
from homeserver.services.background import Background
from homeserver.services.notifier import Notifier
from homeserver.services.now import now_ms
from storage import presence as rows
from storage.committer import Committer, Kind, Touched
from storage.database import Connection, Database
from storage.memberships import share_room
from storage.presence import Presence
from storage.state_keys import StateKeys, user_key

OFFLINE_AFTER = 30.0  # seconds without a sync
SWEEP_EVERY = 5.0


@define(eq=False)
class Tracked:
    """A user whose clients sync, or did until just now."""

    state: str
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

    @asynccontextmanager
    async def syncing(self, user_nid: int, state: str | None) -> AsyncIterator[None]:
        """While a client syncs. `state` is what it wants the user to be; None: online if they were offline."""
        if state == "offline":
            yield
            return
        tracked = self._tracked.get(user_nid)
        if tracked is None:
            tracked = self._tracked[user_nid] = Tracked("")
            self._sweep_later()
            self.background.start(self._come(user_nid, tracked, state))
        elif state is not None and state != tracked.state:
            self.background.start(self.put(user_nid, state, keep_status=True))
        tracked.syncs += 1
        try:
            yield
        finally:
            tracked.syncs -= 1
            tracked.last = asyncio.get_running_loop().time()

    async def put(
        self, user_nid: int, state: str, status: str | None = None, *, keep_status: bool = False
    ) -> None:
        """What the user is from now on."""
        tracked = self._tracked.get(user_nid)
        if tracked is not None:
            tracked.state = state
        known = await self.of(user_nid)
        if keep_status:
            status = known.status_msg if known is not None else None
        if known is not None and (known.state, known.status_msg) == (state, status):
            return
        active = now_ms() if state == "online" or known is None else known.last_active_ts
        new = Presence(user_nid, state, status, active)

        async def job(conn: Connection, position: int) -> None:
            await rows.put(conn, position, [new])

        rooms = tuple((await self.notifier.active(user_nid)).rooms)
        await self.committer.run(job, Touched((user_nid,), rooms, Kind.PRESENCE))

    async def of(self, user_nid: int) -> Presence | None:
        """What is known of a user."""
        async with self.database.read() as conn:
            return (await rows.of_users(conn, [user_nid])).get(user_nid)

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

    async def _come(self, user_nid: int, tracked: Tracked, state: str | None) -> None:
        """The first sync after a while: what a user said of themselves stays, unless it was offline."""
        known = await self.of(user_nid)
        before = known.state if known is not None else "offline"
        tracked.state = state or ("online" if before == "offline" else before)
        await self.put(user_nid, tracked.state, keep_status=True)

    def _sweep_later(self) -> None:
        if len(self._tracked) == 1:  # a sweep is due as long as anybody is tracked
            asyncio.get_running_loop().call_later(SWEEP_EVERY, self._sweep)

    def _sweep(self) -> None:
        """Whoever has not synced for long enough is offline."""
        loop = asyncio.get_running_loop()
        for user_nid, tracked in list(self._tracked.items()):
            if tracked.syncs == 0 and loop.time() - tracked.last > OFFLINE_AFTER:
                del self._tracked[user_nid]
                self.background.start(self.put(user_nid, "offline", keep_status=True))
        if self._tracked:
            loop.call_later(SWEEP_EVERY, self._sweep)
