"""Files on disk, named after their content, so that equal ones are kept once.

A file is written under a name of its own first, is made durable, and then moved to its place: whoever finds a file at
its place finds all of it.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from attrs import define, field, frozen

from homeserver.services.media.open_files import OpenFile, OpenFiles
from storage.media import Content

WRITTEN_AT_ONCE = 256 * 1024  # bytes, in a thread


class TooMuch(Exception):
    """There is more than may be kept."""


@frozen
class Draft:
    """A file that is complete but not in its place; it goes away unless it is put there."""

    path: Path
    content: Content


@define(eq=False)
class _Writing:
    """A file while it grows; used in threads, by one at a time."""

    file: BinaryIO
    hash: "hashlib._Hash" = field(factory=hashlib.sha256)
    size: int = 0

    def add(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            self.file.write(piece)
            self.hash.update(piece)
            self.size += len(piece)

    def finish(self, pieces: Sequence[bytes]) -> Content:
        self.add(pieces)
        os.fsync(self.file.fileno())
        return Content(self.hash.digest(), self.size)


@frozen
class ContentFiles:
    """The tree of files below `folder`, which is made when it is needed."""

    folder: Path
    opened: OpenFiles = field(factory=OpenFiles, repr=False)
    parts: set[str] = field(
        factory=set, repr=False
    )  # of the 256 of the tree, those that a power failure leaves

    @property
    def drafts(self) -> Path:
        return self.folder / "drafts"

    def path(self, digest: bytes) -> Path:
        """Where the file with this content is, or would be."""
        name = digest.hex()
        return self.folder / name[:2] / name[2:4] / name[4:]

    @asynccontextmanager
    async def drafted(self, chunks: AsyncIterable[bytes], *, most: int) -> AsyncIterator[Draft]:
        """Write what comes. Raises TooMuch as soon as there are more than `most` bytes."""
        async with self.scratch() as path:
            yield Draft(path, await _write(path, chunks, most))

    @asynccontextmanager
    async def scratch(self) -> AsyncIterator[Path]:
        """A name that nobody else uses; what is there at the end of the block goes."""
        path = self.drafts / token_hex(16)
        await asyncio.to_thread(self.drafts.mkdir, mode=0o700, parents=True, exist_ok=True)
        try:
            yield path
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def sealed(self, path: Path, *, most: int) -> Draft:
        """What another process has written at a `scratch` path. Raises TooMuch."""
        return Draft(path, await asyncio.to_thread(_sealed, path, most))

    async def settle(self, draft: Draft, *, lasting: bool) -> None:
        """Put a draft in its place. Whoever does this holds the lock on the content.

        A power failure may lose it unless it is to be `lasting`, but never a part of it.
        """
        await asyncio.to_thread(self._settle, draft.path, self.path(draft.content.digest), lasting)

    async def holds(self, content: Content) -> bool:
        """Is the file there, in its length?"""
        return await self._whole(content) is not None

    async def read(self, content: Content, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end`, in pieces."""
        file = await self._whole(content)
        while start < end:
            piece = await file.read(start, end - start) if file is not None else b""
            if not piece:
                self.opened.forget([content.digest])
                raise OSError("a file of media is shorter than it was")
            start += len(piece)
            yield piece

    def _settle(self, draft: Path, place: Path, lasting: bool) -> None:
        part = place.parent.parent
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.replace(place)
        if lasting:
            _sync(place.parent)
            _sync(part)
            if part.name not in self.parts:
                _sync(part.parent)
                self.parts.add(part.name)

    async def _whole(self, content: Content) -> OpenFile | None:
        digest = content.digest
        known = self.opened.known(digest)
        return (
            known if known is not None else await self.opened.whole(digest, self.path(digest), content.size)
        )

    async def remove(self, digests: Sequence[bytes]) -> None:
        """Whoever does this holds the lock on the contents."""
        self.opened.forget(digests)
        await asyncio.to_thread(_remove, [self.path(digest) for digest in digests])

    def listed(self, first: int, before: float) -> list[bytes]:
        """The contents in one of the 256 parts of the tree that were put there before a time; for threads."""
        part = self.folder / f"{first:02x}"
        found = []
        for path in part.glob("??/" + "?" * 60):
            with suppress(FileNotFoundError, ValueError):
                if path.stat().st_mtime < before:
                    found.append(bytes.fromhex(part.name + path.parent.name + path.name))
        return found

    def forget_drafts(self, before: float) -> None:
        """Remove what was left by a process that ended in the midst of writing; for threads."""
        for path in self.drafts.glob("*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()


async def _write(path: Path, chunks: AsyncIterable[bytes], most: int) -> Content:
    file = await asyncio.to_thread(path.open, "xb", buffering=0)
    writing = _Writing(file)
    try:
        waiting: list[bytes] = []
        held = 0
        async for chunk in chunks:
            waiting.append(chunk)
            held += len(chunk)
            if writing.size + held > most:
                raise TooMuch
            if held >= WRITTEN_AT_ONCE:
                await asyncio.to_thread(writing.add, waiting)
                waiting, held = [], 0
        return await asyncio.to_thread(writing.finish, waiting)
    finally:
        file.close()


def _sealed(path: Path, most: int) -> Content:
    with path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise TooMuch
        os.fsync(file.fileno())
        return Content(hashlib.file_digest(file, "sha256").digest(), size)


def _sync(folder: Path) -> None:
    if os.name != "posix":
        return  # folders cannot be opened elsewhere
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
