"""Previews of web pages: what they say about themselves, with a copy of their image [cs "Content repository"]."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import structlog
from attrs import define, field, frozen

from homeserver.core.errors import forbidden
from homeserver.services.confined import Confined, Failed
from homeserver.services.media.files import Draft, TooMuch
from homeserver.services.media.labels import clean_name, label
from homeserver.services.media.studio import CannotDraw, Studio
from homeserver.services.media.thumbnails import image_type
from homeserver.services.media.uploads import Uploads
from homeserver.services.shared_work import SharedWork
from homeserver.services.url_preview.charsets import decoded
from homeserver.services.url_preview.embedding import MAX_ANSWER, OEMBED, embedded
from homeserver.services.url_preview.web_pages import NotAllowed, NotRead, Opened, WebPages
from storage import url_previews

log = structlog.get_logger(__name__)

Preview = dict[str, Any]

FRESH = 3_600_000  # ms
EMPTY_FRESH = 600_000  # ms: pages that could not be had
IMAGE_KEPT = 7 * 24 * 3_600_000  # ms
MAX_PAGE = 512 * 1024  # what stands behind it is not read
_PARSING_SECONDS = 5.0
_PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_WANTED = "text/html,application/xhtml+xml,image/*;q=0.8"
_ENOUGH = {"og:title", "og:description", "og:image"}
_HEAD = 16


@define(eq=False)
class PageReader:
    """Has pages read by a confined process."""

    _workers: Confined = field(
        factory=lambda: Confined(Path(__file__).with_name("describing.py"), _PARSING_SECONDS), init=False
    )

    async def describe(self, html: str) -> dict[str, str]:
        """What the page says; nothing where it cannot be read in time."""
        try:
            return await self._workers.order({"html": html})
        except Failed as cause:
            log.info("a web page could not be read", cause=str(cause))
            return {}

    async def close(self) -> None:
        """End the processes."""
        await self._workers.close()


@frozen
class ImageCopies:
    """Images of pages become media of this server, for a while."""

    uploads: Uploads
    studio: Studio
    server_name: str
    most: int  # bytes

    async def copy(self, opened: Opened) -> Preview:
        """The properties of the image; none where it is no image that we read."""
        files = self.uploads.shelf.files
        try:
            async with files.drafted(opened.chunks, most=self.most) as draft, files.scratch() as scratch:
                return await self._kept(opened, draft, scratch)
        except (TooMuch, CannotDraw) as cause:
            log.info("the image of a web page is left out", cause=str(cause))
            return {}

    async def _kept(self, opened: Opened, draft: Draft, scratch: Path) -> Preview:
        kind = image_type(await asyncio.to_thread(_head, draft.path))
        if kind is None:
            return {}
        measured = await self.studio.measure(draft.path, scratch)
        said = label(kind, clean_name(opened.url.partition("?")[0].rpartition("/")[2]))
        expires = self.uploads.clock() + IMAGE_KEPT
        media_id = await self.uploads.add(draft, said, expires_ts=expires)
        return {
            "og:image": f"mxc://{self.server_name}/{media_id}",
            "og:image:type": kind,
            "og:image:width": measured.width,
            "og:image:height": measured.height,
            "matrix:image:size": draft.content.size,
        }


@define(eq=False)
class Previews:
    """Makes them, and keeps them for an hour."""

    pages: WebPages
    reader: PageReader
    images: ImageCopies
    _making: SharedWork[bytes, Preview] = field(factory=lambda: SharedWork(most=50), init=False)

    async def get(self, url: str) -> Preview:
        """What is to be shown for the URL; empty where the page cannot be had."""
        key = hashlib.sha256(url.encode()).digest()
        async with self.images.uploads.shelf.database.read() as conn:
            kept = await url_previews.find(conn, key, self.images.uploads.clock() - FRESH)
        if kept is not None:
            found: Preview = orjson.loads(kept)
            return found
        return await self._making.do(key, lambda: self._make(key, url))

    async def stop(self) -> None:
        """Break off what is being made."""
        await self._making.stop()
        await self.reader.close()
        await self.pages.close()

    async def _make(self, key: bytes, url: str) -> Preview:
        try:
            made = await self._look(url)
        except NotAllowed as cause:
            raise forbidden("This server makes no previews of that URL") from cause
        except NotRead as cause:
            log.info("no preview", cause=str(cause))
            made = {}
        uploads = self.images.uploads
        stamp = uploads.clock() if made else uploads.clock() - FRESH + EMPTY_FRESH
        async with uploads.shelf.database.writer() as conn:
            await url_previews.put(conn, key, stamp, orjson.dumps(made).decode())
        return made

    async def _look(self, url: str) -> Preview:
        async with self.pages.opened(url, accept=_WANTED) as opened:
            kind = opened.content_type.partition(";")[0].strip().lower()
            if kind.startswith("image/"):
                return await self.images.copy(opened)
            if kind not in _PAGE_TYPES:
                return {}
            html = decoded(await _beginning(opened.chunks), opened.content_type)
            place = opened.url
        said = await self.reader.describe(html)
        return await self._with_image(await self._with_embedded(said, place), place)

    async def _with_embedded(self, said: Preview, place: str) -> Preview:
        """What the page does not say itself, its site may."""
        link = said.pop(OEMBED, None)
        if link is None or said.keys() >= _ENOUGH:
            return said
        try:
            async with self.pages.opened(link, accept="application/json", base=place) as opened:
                answer = await _beginning(opened.chunks, MAX_ANSWER)
        except NotRead as cause:
            log.info("nothing more is said about a web page", cause=str(cause))
            return said
        return {**embedded(answer), **said}

    async def _with_image(self, said: Preview, place: str) -> Preview:
        image = said.pop("og:image", None)
        if image is None:
            return said
        try:
            async with self.pages.opened(image, accept="image/*", base=place) as opened:
                return {**said, **await self.images.copy(opened)}
        except NotRead as cause:
            log.info("the image of a web page cannot be had", cause=str(cause))
            return said


async def _beginning(chunks: AsyncIterator[bytes], most: int = MAX_PAGE) -> bytes:
    """So much of a page as is read."""
    read = bytearray()
    async for chunk in chunks:
        read += chunk
        if len(read) >= most:
            break
    return bytes(read[:most])


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)
