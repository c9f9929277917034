"""Finds media that are here, and waits for those whose upload is announced."""

import asyncio
import re

from attrs import define, evolve, field, frozen

from homeserver.core.errors import MatrixError, not_found
from homeserver.core.ids import is_server_name
from homeserver.services.media.shelf import Shelf
from homeserver.services.now import Clock, now_ms
from storage import media
from storage.media import OURS, Content, MediaName, Medium

MAX_WAIT = 60.0  # seconds
_LOOK_EVERY = 2.0  # seconds; the upload may come to another process
_USE_LASTS = 3_600_000  # ms
_MEDIA_ID = re.compile(r"[A-Za-z0-9_-]{1,255}", re.ASCII)


def gone() -> MatrixError:
    """For whatever is not, or must not be, there."""
    return not_found("There is no such file")


def not_yet_uploaded() -> MatrixError:
    """For an id that waits for its file."""
    return MatrixError(504, "M_NOT_YET_UPLOADED", "The file has not been uploaded yet")


def media_name(server_name: str, media_id: str, ours: str) -> MediaName:
    """What an mxc URI names; nothing that could lead out of a path [cs "Security considerations"]."""
    known = server_name == ours or is_server_name(server_name)
    if not known or not _MEDIA_ID.fullmatch(media_id):
        raise gone()
    return MediaName(OURS if server_name == ours else server_name, media_id)


@define(eq=False)
class Announced:
    """Wakes those who wait for an upload, in this process."""

    _waiting: dict[str, list["asyncio.Future[None]"]] = field(factory=dict, init=False)

    async def wait(self, media_id: str, seconds: float) -> None:
        """Until `came` is called for it, `seconds` at most."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(media_id, []).append(future)
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            return
        finally:
            self._forget(media_id, future)

    def came(self, media_id: str) -> None:
        """Its file is here."""
        for future in self._waiting.get(media_id, ()):
            if not future.done():
                future.set_result(None)

    def _forget(self, media_id: str, future: "asyncio.Future[None]") -> None:
        waiting = self._waiting[media_id]
        waiting.remove(future)
        if not waiting:
            del self._waiting[media_id]


@frozen
class Library:
    """The media that are here, our own and those kept of other servers."""

    shelf: Shelf
    announced: Announced
    clock: Clock = now_ms

    async def find(self, name: MediaName, *, wait: float = 0.0) -> Medium | None:
        """The medium, with its file. None if it is not here; M_NOT_FOUND if nobody may have it.

        An id of ours that was announced is waited for, `wait` seconds at most.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + min(wait, MAX_WAIT)
        while True:
            found = await self._look(name)
            if found is None or found.content is not None:
                return found
            left = deadline - loop.time()
            if left <= 0:
                raise not_yet_uploaded()
            await self.announced.wait(name.media_id, min(left, _LOOK_EVERY))

    async def _look(self, name: MediaName) -> Medium | None:
        found = await self.shelf.rows.medium(name)
        if found is None:
            return None
        if found.quarantined or (found.content is None and (found.expires_ts or 0) <= self.clock()):
            raise gone()
        return found

    async def used(self, medium: Medium) -> None:
        """Copies that are wanted stay longest; noted once an hour."""
        now = self.clock()
        if medium.name.origin != OURS and now - medium.used_ts > _USE_LASTS:
            self.shelf.rows.used(evolve(medium, used_ts=now))
            async with self.shelf.database.writer() as conn:
                await media.used(conn, medium.name, now)


def content_of(medium: Medium) -> Content:
    """The file of a medium that `find` gave."""
    assert medium.content is not None
    return medium.content
