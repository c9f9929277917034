"""Rows of media and of thumbnails, remembered: they hardly ever change, and a list of rooms asks for hundreds.

What was found is remembered in this process. Whoever withholds media or removes them raises `media_withdrawals` in the
same transaction (`Shelf.withdrawing`); a process looks at that number at most every second, and forgets all it
remembers when it has moved. In the process that did it, that is immediate.
"""

import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import TypeVar

from attrs import define, field

from storage import media, media_thumbnails
from storage.database import Database
from storage.media import Content, MediaName, Medium
from storage.media_thumbnails import Size, Thumbnail

MAX_REMEMBERED = 5_000  # of each kind, about a kilobyte each
LOOK_EVERY = 1.0  # seconds: how long another process may still hand out what was withdrawn here

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@define(eq=False)
class MediaRows:
    """Those that this process was asked for lately."""

    database: Database
    _media: OrderedDict[MediaName, Medium] = field(factory=OrderedDict, init=False)
    _thumbnails: OrderedDict[tuple[bytes, Size], Thumbnail] = field(factory=OrderedDict, init=False)
    _withdrawals: int = field(default=-1, init=False)
    _looked: float = field(default=-LOOK_EVERY, init=False)
    _generation: int = field(default=0, init=False)

    async def medium(self, name: MediaName) -> Medium | None:
        """The medium of this name; only what has its file and may be had is remembered."""
        await self._look_sometimes()
        known = self._media.get(name)
        if known is not None:
            return known
        generation = self._generation
        async with self.database.read() as conn:
            found = await media.find(conn, name)
        if found is not None and found.content is not None and not found.quarantined:
            self._remember(self._media, name, found, generation)
        return found

    async def thumbnail(self, source: Content, size: Size) -> Thumbnail | None:
        """The small form of a file; it is there as long as a medium has the file."""
        await self._look_sometimes()
        known = self._thumbnails.get((source.digest, size))
        if known is not None:
            return known
        generation = self._generation
        async with self.database.read() as conn:
            found = await media_thumbnails.find(conn, source.digest, size)
        if found is not None:
            self._remember(self._thumbnails, (source.digest, size), found, generation)
        return found

    def used(self, medium: Medium) -> None:
        """It is kept longer from now on."""
        if medium.name in self._media:
            self._media[medium.name] = medium

    def forget(self) -> None:
        """Something that may be remembered here has changed in the database."""
        self._generation += 1
        self._media.clear()
        self._thumbnails.clear()

    async def _look_sometimes(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY:
            return
        self._looked = now  # those who come meanwhile go on with what is remembered
        async with self.database.read() as conn:
            count = await media.withdrawals(conn)
        if count != self._withdrawals:
            self._withdrawals = count
            self.forget()

    def _remember(self, rows: OrderedDict[K, V], key: K, row: V, generation: int) -> None:
        """Unless something has been withdrawn since it was read."""
        if generation == self._generation:
            rows[key] = row
            if len(rows) > MAX_REMEMBERED:
                rows.popitem(last=False)
