"""Work that several want at the same time is done once: they wait for the same task.

It goes on when one of them leaves, and is bounded: beyond `most` pieces of work at once, callers are sent away.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from attrs import define, field

from homeserver.core.errors import limit_exceeded

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_COME_AGAIN = 2000  # ms


@define(eq=False)
class SharedWork(Generic[K, V]):
    """What is being done, by what it is."""

    most: int = 100
    _running: "dict[K, asyncio.Task[V]]" = field(factory=dict, init=False)

    async def do(self, key: K, begin: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """The outcome of what is being done under this key, begun now if nobody has. Raises what it raises."""
        task = self._running.get(key)
        if task is None:
            if len(self._running) >= self.most:
                raise limit_exceeded(_COME_AGAIN)
            task = self._running[key] = asyncio.create_task(begin())
            task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task)

    def _ended(self, key: K, task: "asyncio.Task[V]") -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # whoever waits raises it; nobody may be left

    async def stop(self) -> None:
        """Break off what runs."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
