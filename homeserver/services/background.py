"""Work that nobody waits for: held until it is done, and its faults are told to the log."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from attrs import define, field

log = structlog.get_logger(__name__)


Work = Coroutine[Any, Any, None]


@define(eq=False)
class Background:
    """Tasks and timers of their own. At a clean stop `settle` drops the timers and waits for the tasks."""

    _tasks: set["asyncio.Task[None]"] = field(factory=set)
    _timers: set[asyncio.TimerHandle] = field(factory=set)
    _stopped: bool = False

    def start(self, work: Work) -> None:
        """Do it, without anybody waiting."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def later(self, delay: float, begin: Callable[[], Work]) -> Callable[[], None]:
        """Do it after `delay` seconds; gives what calls it off."""

        def due() -> None:
            self._timers.discard(timer)
            self.start(begin())

        def call_off() -> None:
            self._timers.discard(timer)
            timer.cancel()

        timer = asyncio.get_running_loop().call_later(delay, due)
        self._timers.add(timer)
        if self._stopped:
            call_off()
        return call_off

    async def settle(self) -> None:
        """Drop what is due later, wait until nothing runs any more."""
        self._stopped = True
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("background work failed", exc_info=fault)
