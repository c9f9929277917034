"""Work that nobody waits for: held until it is done, and its faults are told to the log."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog
from attrs import define, field

log = structlog.get_logger(__name__)


@define(eq=False)
class Background:
    """Tasks of their own; `settle` waits for them at a clean stop."""

    _tasks: set["asyncio.Task[None]"] = field(factory=set)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it, without anybody waiting."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def settle(self) -> None:
        """Wait until nothing runs any more."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("background work failed", exc_info=fault)
