"""Memory that is not needed any more: given back, and found without stopping the server in the midst of things.

By default a full collection walks every object each time the long-lived ones have grown by a quarter; with warm caches
that is tens of milliseconds in which nobody is answered. What is made at the start is put aside for good, and the old
generation is looked at seldom: nearly all garbage with cycles (tasks, tracebacks) dies young.

The C library learns from each large piece that is freed to keep larger ones, up to 32 MB: after a few large answers
and joined rooms, much of the server's memory is holes. With fixed limits large pieces come from the system and go back.
Small ones leave holes all the same: of the 20 MB that a join of 5,000 members takes for a moment, hardly anything would
go back by itself. Some megabytes stay, though: where memory for a request of half a megabyte came from the system anew
each time, page by page, it took three times as long to parse.
"""

import asyncio
import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path

from attrs import define, field

YOUNG = 20_000  # allocations between collections of the youngest generation: about a millisecond each
MIDDLE = 20
OLD = 500

LARGE = 128 * 1024  # bytes: the C library's own first limit
SPARE = 8 * 1024 * 1024  # bytes at the heap's end that stay for the next large request
PAUSE = 2.0  # seconds between looks for holes, each of some microseconds
GROWN = (
    8 * 1024 * 1024
)  # bytes more than before: time to give holes back, which takes about a millisecond for each two
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_STATM = Path("/proc/self/statm")


def spare() -> None:
    """To be called before anything is done; without the GNU C library nothing happens."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    # Threads keep arenas of their own: sharing the main one, they left more holes in it.
    mallopt(_M_MMAP_THRESHOLD, LARGE)
    mallopt(_M_TRIM_THRESHOLD, SPARE)


def settle() -> None:
    """To be called once the server is put together, before it serves."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)


@define(eq=False)
class Holes:
    """Gives pages between what is used back to the system: once memory has grown, and again when it may be free."""

    trim: Callable[[], object]
    resident: Callable[[], int]
    _after: int = field(init=False)
    _owed: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._after = self.resident()

    async def run(self) -> None:
        """Lasts until it is cancelled."""
        while True:
            await asyncio.sleep(PAUSE)
            await self.look()

    async def look(self) -> None:
        """Give back what can be, if there may be anything."""
        grown = self.resident() > self._after + GROWN
        if grown or self._owed:
            await asyncio.to_thread(self.trim)  # without the interpreter's lock
            self._after, self._owed = self.resident(), grown


def holes() -> Holes | None:
    """None without the GNU C library, or where nobody tells how large we are."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None or not _STATM.exists():
        return None
    return Holes(lambda: trim(0), resident_bytes)


def resident_bytes() -> int:
    """How much memory this process takes."""
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
