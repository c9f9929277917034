"""The wall clock, in the unit of the specification: milliseconds since 1970."""

import time
from collections.abc import Callable

Clock = Callable[[], int]  # what takes the time as a dependency, so that tests can let it pass


def now_ms() -> int:
    """The time that events and rows are stamped with."""
    return time.time_ns() // 1_000_000
