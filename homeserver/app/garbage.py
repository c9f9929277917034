"""Memory that is not needed any more: given back, and found without stopping the server in the midst of things.

By default a full collection walks every object each time the long-lived ones have grown by a quarter; with warm caches
that is tens of milliseconds in which nobody is answered. What is made at the start is put aside for good, and the old
generation is looked at seldom: nearly all garbage with cycles (tasks, tracebacks) dies young.

The C library learns from each large piece that is freed to keep larger ones, up to 32 MB: after a few large answers
and joined rooms, much of the server's memory is holes. With fixed limits large pieces come from the system and go back.
"""

import ctypes
import gc

YOUNG = 20_000  # allocations between collections of the youngest generation: about a millisecond each
MIDDLE = 20
OLD = 500

LARGE = 128 * 1024  # bytes: the C library's own first limit
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def spare() -> None:
    """To be called before anything is done; without the GNU C library nothing happens."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    # Threads keep arenas of their own: sharing the main one, they left more holes in it.
    mallopt(_M_MMAP_THRESHOLD, LARGE)
    mallopt(_M_TRIM_THRESHOLD, 2 * LARGE)


def settle() -> None:
    """To be called once the server is put together, before it serves."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
