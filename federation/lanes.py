"""Who is served when: a thousand servers, some hundred of them dead, and none that is up waits for one that is not.

Only so many are being served at once. One that takes its time gives its place to the next and goes on beside; one that
failed last time is served after all others, and few of those at once. Whoever is not to be asked before some time costs
an entry in a heap, with one timer for all.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Container

import structlog
from attrs import define, field

from homeserver.services.now import Clock, now_ms

log = structlog.get_logger(__name__)

FAST = 100  # served at once
SLOW = 400  # beside these, that take their time
DOUBTED = 25  # of the fast ones, such that failed last time
SOON = 0.5  # seconds in which a server that is well has answered
AFTER_A_FAULT = 10_000  # ms

Step = Callable[[str], Awaitable[int | None]]


@define(eq=False)
class Lanes:
    """Runs `step(name)` for whoever is woken, one at a time for each, until it says that nothing is left to do."""

    step: Step
    is_doubted: Callable[[str], bool]
    clock: Clock = now_ms
    _ready: deque[str] = field(factory=deque)
    _doubted: deque[str] = field(factory=deque)
    _queued: set[str] = field(factory=set)
    _running: dict[str, "asyncio.Task[None]"] = field(factory=dict)
    _fast: dict[str, bool] = field(factory=dict)  # who holds a place -> is doubted
    _again: set[str] = field(factory=set)  # woken while being served
    _parked: dict[str, int] = field(factory=dict)
    _heap: list[tuple[int, str]] = field(factory=list)
    _timer: asyncio.TimerHandle | None = None
    _closed: bool = False

    @property
    def busy(self) -> int:
        """How many are being served."""
        return len(self._running)

    @property
    def serving(self) -> Container[str]:
        """Who is being served."""
        return self._running

    @property
    def parked(self) -> int:
        """How many wait for a time."""
        return len(self._parked)

    def is_parked(self, name: str) -> bool:
        """Does it wait for a time?"""
        return name in self._parked

    def wake(self, name: str, *, at_once: bool = False) -> None:
        """There is something to do; `at_once`: also if it was to wait for a time."""
        if self._closed:
            return
        if name in self._running:
            self._again.add(name)
        elif name not in self._queued and (at_once or name not in self._parked):
            self._parked.pop(name, None)
            self._queued.add(name)
            (self._doubted if self.is_doubted(name) else self._ready).append(name)
            self._start()

    async def close(self) -> None:
        """Serve nobody any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self) -> None:
        while self._ready and len(self._fast) < FAST:
            self._serve(self._ready.popleft(), doubted=False)
        while self._doubted and len(self._fast) < FAST and sum(self._fast.values()) < DOUBTED:
            self._serve(self._doubted.popleft(), doubted=True)

    def _serve(self, name: str, *, doubted: bool) -> None:
        self._queued.discard(name)
        self._fast[name] = doubted
        self._running[name] = asyncio.create_task(self._run(name), name=f"to {name}")

    async def _run(self, name: str) -> None:
        late = asyncio.get_running_loop().call_later(SOON, self._give_way, name)
        when: int | None = None
        try:
            when = await self.step(name)
        except Exception:  # whatever it is, others must go on; the operator hears of it
            log.exception("serving a destination failed", destination=name)
            when = self.clock() + AFTER_A_FAULT
        finally:
            late.cancel()
            self._fast.pop(name, None)
            del self._running[name]
            woken = name in self._again
            self._again.discard(name)
        if when:
            self._park(name, when)
        elif when == 0 or woken:
            self.wake(name)
        self._start()

    def _give_way(self, name: str) -> None:
        """It takes its time: its place is free, as long as not too many take theirs."""
        if len(self._running) - len(self._fast) < SLOW:
            self._fast.pop(name, None)
            self._start()

    def _park(self, name: str, until: int) -> None:
        self._parked[name] = until
        heapq.heappush(self._heap, (until, name))
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._heap and self._parked.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)  # woken meanwhile
        if self._heap and not self._closed:
            delay = max(0.0, (self._heap[0][0] - self.clock()) / 1000)
            self._timer = asyncio.get_running_loop().call_later(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        now = self.clock()
        while self._heap and self._heap[0][0] <= now:
            until, name = heapq.heappop(self._heap)
            if self._parked.get(name) == until:
                self.wake(name, at_once=True)
        self._set_timer()
