"""Python's garbage collector, kept from stopping the server in the midst of things.

By default a full collection walks every object each time the long-lived ones have grown by a quarter; with warm caches
that is tens of milliseconds in which nobody is answered. What is made at the start is put aside for good, and the old
generation is looked at seldom: nearly all garbage with cycles (tasks, tracebacks) dies young.
"""

import gc

YOUNG = 20_000  # allocations between collections of the youngest generation: about a millisecond each
MIDDLE = 20
OLD = 500


def settle() -> None:
    """To be called once the server is put together, before it serves."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
