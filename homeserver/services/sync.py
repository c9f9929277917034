"""Sync: what is new for a client since its token, at once or as soon as there is something.

Most answers come from memory: that nothing is new (`Notifier`), or a few messages (`SyncQuick`). All others are
gathered from the database. Between looking and waiting nothing is lost: the wait begins by looking at the marks again.
"""

import asyncio
from collections import OrderedDict

import orjson
from attrs import define, evolve, field

from homeserver.services.key_counts import KeyCounts, KeysLeft
from homeserver.services.notifier import Notifier
from homeserver.services.sync_gather import Gathered, SyncGather
from homeserver.services.sync_quick import SyncQuick, quiet_answer
from homeserver.services.sync_request import SyncRequest
from storage import user_news

MAX_DEVICES = 50_000


@define(eq=False)
class Sync:
    """Answers syncs."""

    notifier: Notifier
    quick: SyncQuick
    slow: SyncGather
    key_counts: KeysLeft
    _told: OrderedDict[int, int] = field(factory=OrderedDict)  # device_nid -> up to where its inbox was told

    async def sync(self, request: SyncRequest, timeout: float) -> bytes:
        """The answer as JSON. With a token and nothing new it waits, `timeout` seconds at most."""
        await self._acknowledge(request)
        if request.since is None or request.style.full_state:
            return await self._written(request, await self._gather(request))
        until = asyncio.get_running_loop().time() + timeout
        unheard = (
            request.position > self.notifier.position
        )  # from another process, or before a restored backup
        while True:
            if unheard or not _is_quiet(request):
                unheard = False
                answer = self.quick.answer(request, await self._counts(request))
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
            if remaining <= 0 or not await self.notifier.wait(request.user, request.position, remaining):
                return False
        return until > clock.time()

    async def _gather(self, request: SyncRequest) -> Gathered:
        gathered = await self.slow.gather(request)
        if request.device_nid is not None and request.position > gathered.token.position:
            # The database was restored to an earlier time: what has been given out since is in it again.
            await self.key_counts.begin_anew(request.device_nid)
        if gathered.inbox is not None and request.device_nid is not None:
            self._told[request.device_nid] = gathered.inbox
        return gathered

    async def _acknowledge(self, request: SyncRequest) -> None:
        """The client came back with a token, so it has its to-device messages [cs "Send-to-Device messaging"].

        Devices that this process has not served yet may have been told by another one.
        """
        device = request.device_nid
        if device is None or request.since is None:
            return
        told = self._told.get(device)
        if told is None or 0 < told <= request.since.seen_inbox:
            self._told[device] = 0
            async with self.slow.database.writer() as conn:
                await user_news.empty_inbox(conn, device, request.since.seen_inbox)
            while len(self._told) > MAX_DEVICES:
                self._told.popitem(last=False)


def _is_quiet(request: SyncRequest) -> bool:
    """Is there surely nothing new for the client?"""
    assert request.since is not None
    return request.since.inbox is None and request.user.is_quiet_since(request.since.position)
