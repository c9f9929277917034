"""How loads are driven: for some seconds, by so many workers at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence

Step = Callable[[], Awaitable[object]]

WARM_UP_SECONDS = 0.5


async def for_seconds(seconds: float, steps: Sequence[Step]) -> int:
    """Repeat each step, all side by side, until the time is over; how often in all."""
    end = time.monotonic() + seconds
    counts = await asyncio.gather(*(_repeat_until(end, step) for step in steps))
    return sum(counts)


async def times(count: int, steps: Sequence[Step]) -> int:
    """Do `count` steps in all, all workers side by side."""
    tickets = iter(range(count))
    counts = await asyncio.gather(*(_repeat_while(tickets, step) for step in steps))
    return sum(counts)


async def _repeat_until(end: float, step: Step) -> int:
    count = 0
    while time.monotonic() < end:
        await step()
        count += 1
    return count


async def _repeat_while(tickets: Iterator[int], step: Step) -> int:
    count = 0
    for _ in tickets:
        await step()
        count += 1
    return count
