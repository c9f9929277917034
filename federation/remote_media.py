"""Media of any server: those that are here, and those that must be fetched first [ss "Content Repository"].

What is fetched is kept. Whoever wants the same medium meanwhile waits for the same fetch, which goes on when they give
up: the next one finds it here.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

import structlog
from attrs import define, field, frozen

from federation.client.media import MediaRequests, RemoteMedia
from federation.transport.requests import PeerFault, PeerRefused
from homeserver.core.errors import MatrixError, not_found
from homeserver.services.media.files import TooMuch
from homeserver.services.media.keeping import Keeping
from homeserver.services.media.labels import label, told_name
from homeserver.services.media.library import MAX_WAIT, Library, gone, not_yet_uploaded
from homeserver.services.shared_work import SharedWork
from storage.media import OURS, MediaName, Medium

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 60.0  # then who asked is told to come again; the fetch goes on
FETCH_SECONDS = 600.0  # from the first byte asked for to the last one read
MISSED = 60.0  # seconds a peer is not asked again for what it did not have
_MOST_FETCHES = 500
_MAX_MISSES = 10_000


def too_large_elsewhere() -> MatrixError:
    """For what another server has, but we would not keep [cs "Security considerations"]."""
    return MatrixError(502, "M_TOO_LARGE", "The file is larger than this server takes from others")


@frozen
class FetchLimits:
    """What fetching may cost."""

    bytes: int
    authenticated: bool = True  # what comes now can be had with a token only


@define(eq=False)
class MediaFinder:
    """Finds a medium, wherever it is."""

    library: Library
    keeping: Keeping
    requests: MediaRequests
    limits: FetchLimits
    clock: Callable[[], float] = time.monotonic
    _fetching: SharedWork[MediaName, Medium] = field(
        factory=lambda: SharedWork(most=_MOST_FETCHES), init=False
    )
    _misses: "OrderedDict[MediaName, float]" = field(factory=OrderedDict, init=False)

    async def find(self, name: MediaName, *, wait: float, fetch: bool) -> Medium:
        """The medium with its file, here; `fetch` asks its server for it. M_NOT_FOUND where there is none."""
        found = await self.library.find(name, wait=wait)
        if found is not None and await self.keeping.is_whole(found):
            return found
        if name.origin == OURS or not fetch or self._missed_lately(name):
            raise gone()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._fetching.do(name, lambda: self._fetch(name, wait))
        except TimeoutError as cause:
            raise not_yet_uploaded() from cause

    async def stop(self) -> None:
        """Break off what is being fetched."""
        await self._fetching.stop()

    async def _fetch(self, name: MediaName, wait: float) -> Medium:
        try:
            async with (
                asyncio.timeout(FETCH_SECONDS),
                self.requests.download(name.origin, name.media_id, timeout_ms=_told_wait(wait)) as coming,
            ):
                return await self._keep(name, coming)
        except PeerRefused as refused:
            raise self._refusal(name, refused) from refused
        except TooMuch as cause:
            raise too_large_elsewhere() from cause
        except (PeerFault, TimeoutError) as fault:
            log.info("media not fetched", origin=name.origin, media_id=name.media_id, cause=str(fault))
            raise not_found("The server that has this file cannot be reached now") from fault

    async def _keep(self, name: MediaName, coming: RemoteMedia) -> Medium:
        said = label(coming.content_type, told_name(coming.content_disposition))
        async with self.keeping.shelf.files.drafted(coming.chunks, most=self.limits.bytes) as draft:
            return await self.keeping.keep(name, draft, said, authenticated=self.limits.authenticated)

    def _refusal(self, name: MediaName, refused: PeerRefused) -> MatrixError:
        if refused.errcode == "M_NOT_YET_UPLOADED":
            return not_yet_uploaded()
        if refused.errcode == "M_TOO_LARGE":
            return too_large_elsewhere()
        self._misses[name] = self.clock()
        if len(self._misses) > _MAX_MISSES:
            self._misses.popitem(last=False)
        return gone()

    def _missed_lately(self, name: MediaName) -> bool:
        missed = self._misses.get(name)
        if missed is None:
            return False
        if self.clock() - missed < MISSED:
            return True
        del self._misses[name]
        return False


def _told_wait(wait: float) -> int:
    return int(1000 * min(wait, MAX_WAIT))
