"""The wall clock, in the unit of the specification: milliseconds since 1970."""

import time


def now_ms() -> int:
    """The time that events and rows are stamped with."""
    return time.time_ns() // 1_000_000
