"""Keeps copies of other servers' media, so many bytes of them; and drops whatever has had its time."""

import asyncio

import structlog
from attrs import define, field

from homeserver.services.media.files import Draft
from homeserver.services.media.library import gone
from homeserver.services.media.shelf import Shelf
from homeserver.services.now import Clock, now_ms
from storage import media, url_previews
from storage.database import Connection, Unavailable
from storage.media import Label, MediaName, Medium

log = structlog.get_logger(__name__)

HOUR = 3600.0
PREVIEWS_KEPT = 24 * 3_600_000  # ms
_FIRST_LOOK = 60.0  # seconds after the start
_SWEEP_EVERY = 24  # hours


@define(eq=False)
class Keeping:
    """`run` beside the server."""

    shelf: Shelf
    remote_bytes: int
    clock: Clock = now_ms
    _since_look: int = field(default=0, init=False)  # bytes
    _crowded: asyncio.Event = field(factory=asyncio.Event, init=False)

    async def keep(self, name: MediaName, draft: Draft, said: Label, *, authenticated: bool) -> Medium:
        """Keep a copy; gives what is kept now, which may be another one's copy."""
        medium = Medium(
            name=name,
            content=draft.content,
            label=said,
            created_ts=self.clock(),
            authenticated=authenticated,
        )

        async def record(conn: Connection) -> Medium | None:
            await media.insert(conn, medium)
            return await media.find(conn, name)

        kept = await self.shelf.keep(draft, record)
        self._noted(draft.content.size)
        if kept is None or kept.quarantined:
            raise gone()
        return kept

    async def is_whole(self, medium: Medium) -> bool:
        """Is its file there? A copy whose file is lost is forgotten, and can be fetched anew."""
        assert medium.content is not None
        if await self.shelf.files.holds(medium.content):
            return True
        log.error("the file of a medium is lost", origin=medium.name.origin, media_id=medium.name.media_id)
        if medium.name.origin:
            async with self.shelf.withdrawing() as conn:
                await media.delete(conn, medium.name)
        return False

    async def run(self) -> None:
        """Every hour, and when much was fetched; until cancelled."""
        hours, wait = 0, _FIRST_LOOK
        while True:
            await self._hour_or_crowd(wait)
            wait = HOUR
            try:
                await self.tidy()
                if hours % _SWEEP_EVERY == 0:
                    await self.shelf.sweep()
            except (Unavailable, TimeoutError, OSError) as fault:
                log.warning("media are tidied later", cause=repr(fault))
            hours += 1

    async def tidy(self) -> int:
        """Drop what has expired, and copies beyond the limit; gives the number of files."""
        self._since_look = 0
        self._crowded.clear()
        now = self.clock()
        async with self.shelf.withdrawing() as conn:
            await url_previews.delete_before(conn, now - PREVIEWS_KEPT)
            orphans = await media.delete_expired(conn, now)
            if await media.remote_bytes(conn) > self.remote_bytes:
                orphans += await media.delete_least_used(conn, self.remote_bytes)
        return await self.shelf.drop(orphans)

    def _noted(self, size: int) -> None:
        self._since_look += size
        if self._since_look > self.remote_bytes // 16:
            self._crowded.set()

    async def _hour_or_crowd(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._crowded.wait()
        except TimeoutError:
            return
