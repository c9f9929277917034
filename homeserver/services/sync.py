"""Sync: what is new for a client since its token, at once or as soon as there is something.

Most answers come from memory: that nothing is new (`Notifier`), a few messages (`SyncQuick`), or whose devices changed
(`SyncOthers`). All others are gathered from the database. Between looking and waiting nothing is lost: the wait begins
by looking at the marks again.
"""

import asyncio

import orjson
from attrs import define, evolve

from homeserver.services.inboxes import Inboxes
from homeserver.services.key_counts import KeyCounts, KeysLeft
from homeserver.services.notifier import Notifier
from homeserver.services.peeking import Peeks
from homeserver.services.sync_gather import Gathered
from homeserver.services.sync_others import SyncOthers
from homeserver.services.sync_quick import SyncQuick, quiet_answer
from homeserver.services.sync_request import SyncRequest

PRESENCE_GATHERS = 0.5  # seconds


@define(eq=False)
class Sync:
    """Answers syncs."""

    notifier: Notifier
    quick: SyncQuick
    slow: SyncOthers
    key_counts: KeysLeft
    inboxes: Inboxes
    peeks: Peeks

    async def sync(self, request: SyncRequest, timeout: float) -> bytes:
        """The answer as JSON. With a token and nothing new it waits, `timeout` seconds at most."""
        if request.since is not None:
            await self.inboxes.acknowledge(request.device_nid, request.since.seen_inbox)
        if request.since is None or request.style.full_state:
            return await self._written(request, await self._gather(request))
        until = asyncio.get_running_loop().time() + timeout
        unheard = (
            request.position > self.notifier.position
        )  # from another process, or before a restored backup
        while True:
            if unheard or not _is_quiet(request):
                unheard = False
                await self._gather_presence(request, until)
                counts = await self._counts(request)
                answer = self.quick.answer(request, counts) if request.peeks_nowhere_new else None
                if answer is not None:
                    return answer
                gathered = await self._gather(request)
                if not gathered.empty:
                    return await self._written(request, gathered)
                request = evolve(request, since=gathered.token)
            if not await self._wait(request, until):
                counts = await self._counts(request)
                return quiet_answer(
                    self.notifier.position if _is_quiet(request) else request.position, counts
                )

    async def _gather_presence(self, request: SyncRequest, until: float) -> None:
        """In a large room somebody always comes or goes: each sync would tell of one."""
        seconds = min(PRESENCE_GATHERS, until - asyncio.get_running_loop().time())
        if seconds > 0:
            await self.notifier.lull(request.user, request.position, seconds)

    async def _counts(self, request: SyncRequest) -> KeyCounts:
        return await self.key_counts.of(request.user, request.device_nid)

    async def _written(self, request: SyncRequest, gathered: Gathered) -> bytes:
        counts = await self._counts(request)
        return orjson.dumps({**gathered.answer, **counts.as_fields()})

    async def _wait(self, request: SyncRequest, until: float) -> bool:
        """Until there may be something new; False when the time is over."""
        clock = asyncio.get_running_loop()
        while _is_quiet(request):
            remaining = until - clock.time()
            if remaining <= 0 or not await self.notifier.wait(
                request.user, request.position, remaining, peeker=request.peeker
            ):
                return False
        return until > clock.time()

    async def _gather(self, request: SyncRequest) -> Gathered:
        await self.peeks.know(request.user)
        gathered = await self.slow.gather(request)
        if gathered.peeks is not None and request.device_nid is not None:
            await self.peeks.settle(request.user, request.device_nid, gathered.peeks, request.position)
        if request.device_nid is not None and request.position > gathered.token.position:
            # The database was restored to an earlier time: what has been given out since is in it again.
            await self.key_counts.begin_anew(request.device_nid)
        self.inboxes.told(request.device_nid, gathered.inbox)
        if request.since is None and gathered.inbox is None:
            self.inboxes.found_empty(request.device_nid)
        return gathered


def _is_quiet(request: SyncRequest) -> bool:
    """Is there surely nothing new for the client?"""
    assert request.since is not None
    quiet = request.since.inbox is None and request.user.is_quiet_since(request.since.position)
    return quiet and request.peeks_nowhere_new
