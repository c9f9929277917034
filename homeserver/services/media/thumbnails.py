"""Small forms of images, each made once and kept [cs "Thumbnails"]."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from attrs import define, field, frozen

from homeserver.services.media.files import Draft, TooMuch
from homeserver.services.media.shelf import Shelf
from homeserver.services.media.sizes import kept_size
from homeserver.services.media.studio import CannotDraw, Drawn, Studio
from homeserver.services.shared_work import SharedWork
from storage import media_thumbnails
from storage.database import Connection
from storage.media import Content
from storage.media_thumbnails import Size, Thumbnail

MAX_THUMBNAIL = 64 * 1024 * 1024
_MOST_WAITING = 1_000  # a room list may come with hundreds of new faces
_FAILED_LASTS = 600.0  # seconds; on another day the machine may be less busy
_FAILED = 2_000  # images that are remembered to be none
_HEAD = 16


@frozen
class ImageKind:
    """A format, as its first bytes tell."""

    content_type: str
    begins: bytes
    then: bytes = b""  # after the length or brand that stands between


KINDS = (
    ImageKind("image/jpeg", b"\xff\xd8\xff"),
    ImageKind("image/png", b"\x89PNG\r\n\x1a\n"),
    ImageKind("image/gif", b"GIF8"),
    ImageKind("image/webp", b"RIFF", b"WEBP"),
    ImageKind("image/avif", b"", b"ftypavif"),
    ImageKind("image/avif", b"", b"ftypavis"),
)


def image_type(head: bytes) -> str | None:
    """The content type of an image that can be drawn small, from its first 16 bytes."""
    for kind in KINDS:
        place = 8 if kind.begins else 4
        if head.startswith(kind.begins) and head[place:].startswith(kind.then):
            return kind.content_type
    return None


@define(eq=False)
class Thumbnails:
    """Draws, keeps, and remembers what cannot be drawn."""

    shelf: Shelf
    studio: Studio
    clock: Callable[[], float] = time.monotonic
    _drawing: SharedWork[tuple[bytes, Size], Thumbnail] = field(
        factory=lambda: SharedWork(most=_MOST_WAITING), init=False
    )
    _failed: "OrderedDict[bytes, tuple[float, CannotDraw]]" = field(factory=OrderedDict, init=False)

    async def get(self, source: Content, wish: Size) -> Thumbnail:
        """The thumbnail that fits the wish. Raises CannotDraw."""
        size = kept_size(wish)
        found = await self.shelf.rows.thumbnail(source, size)
        if found is not None and await self.shelf.files.holds(found.content):
            return found
        self._require_hope(source.digest)
        return await self._drawing.do((source.digest, size), lambda: self._make(source, size))

    async def stop(self) -> None:
        """Break off what is being drawn."""
        await self._drawing.stop()
        await self.studio.close()

    def _require_hope(self, digest: bytes) -> None:
        """What failed lately fails again, at no cost."""
        when, fault = self._failed.get(digest, (0.0, None))
        if fault is None:
            return
        if self.clock() - when < _FAILED_LASTS:
            raise type(fault)(*fault.args)
        del self._failed[digest]

    async def _make(self, source: Content, size: Size) -> Thumbnail:
        try:
            return await self._draw(source, size)
        except CannotDraw as fault:
            self._failed[source.digest] = (self.clock(), fault)
            if len(self._failed) > _FAILED:
                self._failed.popitem(last=False)
            raise

    async def _draw(self, source: Content, size: Size) -> Thumbnail:
        path = self.shelf.files.path(source.digest)
        kind = image_type(await asyncio.to_thread(_head, path))
        if kind is None:
            raise CannotDraw("it is no image that we read")
        async with self.shelf.files.scratch() as target:
            drawn = await self.studio.draw(path, target, size)
            if drawn.content_type is None:
                made = Thumbnail(source, kind)
                async with self.shelf.database.writer() as conn:
                    await media_thumbnails.insert(conn, source.digest, size, made)
                return made
            return await self._keep(source, size, drawn, target)

    async def _keep(self, source: Content, size: Size, drawn: Drawn, target: Path) -> Thumbnail:
        assert drawn.content_type is not None
        try:
            draft = await self.shelf.files.sealed(target, most=MAX_THUMBNAIL)
        except TooMuch as cause:
            raise CannotDraw("its thumbnail is too large") from cause
        return await self._shelve(source, size, drawn.content_type, draft)

    async def _shelve(self, source: Content, size: Size, content_type: str, draft: Draft) -> Thumbnail:
        made = Thumbnail(draft.content, content_type)

        async def record(conn: Connection) -> None:
            await media_thumbnails.insert(conn, source.digest, size, made)

        await self.shelf.keep(draft, record, lasting=False)
        return made


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)
