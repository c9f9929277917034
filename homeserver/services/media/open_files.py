"""Files that were read lately, kept open: what the system has in memory is read without a visit to a thread.

Such a visit costs more than to copy a picture. The event loop must not wait for a disk, though: it reads only what the
kernel promises to give at once. Where it does not, or the system knows no such promise, a thread reads.
"""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from attrs import define, field

# Bytes that are read at once. Larger pieces of memory come from the system and go back each time, which takes longer
# than to read them.
PIECE = 120 * 1024
MOST = 128  # files
LASTS = 60.0  # seconds from opening; until then, what another process has removed takes its place on the disk

_AT_ONCE: int | None = getattr(os, "RWF_NOWAIT", None)
_STAYS_OPEN = hasattr(os, "pread")  # elsewhere an open file could not be removed


class OpenFile:
    """A file of content; it is closed when nobody has it any more."""

    def __init__(self, path: Path, buffer: bytearray) -> None:
        """To be called in a thread."""
        self._path = path
        self._buffer = memoryview(
            buffer
        )  # a scratch pad that many files share: only for what is done at once
        self._number = os.open(path, os.O_RDONLY) if _STAYS_OPEN else None
        self.size = path.stat().st_size if self._number is None else os.fstat(self._number).st_size

    def __del__(self) -> None:
        number = getattr(self, "_number", None)
        if number is not None:
            os.close(number)

    async def read(self, start: int, length: int) -> bytes:
        """At most so many bytes from a place on; none where the file ends."""
        length = min(length, PIECE)
        return self._read_at_once(start, length) or await asyncio.to_thread(self._read, start, length)

    def _read_at_once(self, start: int, length: int) -> bytes:
        if _AT_ONCE is None or self._number is None:
            return b""
        try:
            read = os.preadv(self._number, [self._buffer[:length]], start, _AT_ONCE)
        except OSError:  # it is not in memory, or this file system does not know
            return b""
        return bytes(self._buffer[:read])

    def _read(self, start: int, length: int) -> bytes:
        if self._number is not None:
            return os.pread(self._number, length, start)
        with self._path.open("rb", buffering=0) as file:
            file.seek(start)
            return file.read(length)


@define(eq=False)
class OpenFiles:
    """Those that were opened lately, by digest."""

    _files: OrderedDict[bytes, tuple[float, OpenFile]] = field(factory=OrderedDict, init=False)
    _closing: asyncio.TimerHandle | None = field(default=None, init=False)
    _buffer: bytearray = field(factory=lambda: bytearray(PIECE), init=False)

    def known(self, digest: bytes) -> OpenFile | None:
        """The file, if it is open."""
        known = self._files.get(digest)
        return known[1] if known is not None else None

    async def whole(self, digest: bytes, path: Path, size: int) -> OpenFile | None:
        """The file, opened, if it is there in its length."""
        try:
            file = await asyncio.to_thread(OpenFile, path, self._buffer)
        except FileNotFoundError:
            return None
        if file.size != size:
            return None
        self._keep(digest, file)
        return file

    def forget(self, digests: Iterable[bytes]) -> None:
        """These are going away, or are not what they were."""
        for digest in digests:
            self._files.pop(digest, None)

    def _keep(self, digest: bytes, file: OpenFile) -> None:
        self.forget([digest])
        self._files[digest] = (asyncio.get_running_loop().time(), file)
        if len(self._files) > MOST:
            self._files.popitem(last=False)
        if self._closing is None:
            self._close_later(LASTS)

    def _close_later(self, seconds: float) -> None:
        self._closing = asyncio.get_running_loop().call_later(seconds, self._close_old)

    def _close_old(self) -> None:
        self._closing = None
        now = asyncio.get_running_loop().time()
        while self._files:
            opened, _ = next(iter(self._files.values()))
            if now < opened + LASTS:
                self._close_later(opened + LASTS - now)
                return
            self._files.popitem(last=False)
