"""Checks 1 to 3 on thousands of PDUs: while the later ones are read here, another process verifies the first.

What processes tell is only which signatures hold; what follows from that for an event is judged here, with the keys
for all events. Once everything is read, this process verifies too. Where another one fails, this one does its work.
"""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

from attrs import define, field, frozen

from federation.pdu_slices import Read, Wanted, claims, named, read, unverified, verified
from federation.signature_process import Claim, Lost, SignatureProcess, signature_process
from homeserver.core.receipt_checks import Dropped, ServerKeys
from homeserver.core.room_versions import RoomVersion
from homeserver.services.judging import Arrival
from storage.server_keys import KeyName

SLICE = 128  # events: 4 ms of reading, 8 of signatures
MOST_PROCESSES = 3
HEAD_START = (
    0.1  # seconds: a loop that shares Python's lock with a thread takes ten times as long to ask for keys
)
_ORDERS = 2  # one that a process works on, one on its way to it

T = TypeVar("T")
Outcome = list[Arrival | Dropped]


class Keys(Protocol):
    """What is used of the key ring."""

    async def keys(self, wanted: dict[KeyName, int]) -> ServerKeys: ...


@frozen
class Checking:
    """PDUs that are read, while their signatures are verified: what they come to if these hold, and what they do."""

    unverified: Outcome = field(repr=False)
    outcome: Callable[[], Awaitable[Outcome]]


@define(eq=False)
class _Pile:
    """Slices that were read, which of them nobody has taken yet, and what processes have found out about them."""

    read: list[list[Read | Dropped]] = field(factory=list)
    todo: deque[int] = field(factory=deque)
    aside: list[int] = field(factory=list)  # until there are all keys
    proven: dict[int, frozenset[Claim]] = field(factory=dict)
    results: dict[int, Outcome] = field(factory=dict)
    complete: bool = False
    news: asyncio.Event = field(factory=asyncio.Event)

    def add(self, one: list[Read | Dropped]) -> None:
        self.todo.append(len(self.read))
        self.read.append(one)
        self.news.set()

    def end(self) -> None:
        """There are all keys, and all is read."""
        self.todo.extend(self.aside)
        self.complete = True
        self.news.set()

    async def next(self) -> int | None:
        """A slice that nobody has; None when there will be no more."""
        while not self.todo and not self.complete:
            self.news.clear()
            await self.news.wait()
        return self.todo.popleft() if self.todo else None


@define(eq=False)
class LargeCheck:
    """The way of one large batch."""

    ring: Keys
    threads: Executor
    version: RoomVersion
    processes: int = field(factory=lambda: min(MOST_PROCESSES, _cores() - 1))
    _keys: ServerKeys = field(factory=dict, init=False)
    _pile: _Pile = field(factory=_Pile, init=False)
    _verifying: "asyncio.Task[Outcome] | None" = field(default=None, init=False)

    @asynccontextmanager
    async def begun(self, pdus: Sequence[Any]) -> AsyncIterator[Checking]:
        """All is read, and the keys are had, before the block begins; what is not verified at its end never is."""
        async with AsyncExitStack() as stack:
            helpers = [await stack.enter_async_context(signature_process()) for _ in range(self.processes)]
            lanes: list[asyncio.Task[Any]] = []
            try:
                found = await self._read_all(pdus, helpers, lanes)
                del pdus  # the whole answer, as text
                yield Checking(found, partial(self._outcome, lanes))
            finally:
                for lane in lanes:
                    lane.cancel()
                await asyncio.gather(*lanes, return_exceptions=True)

    async def _read_all(
        self, pdus: Sequence[Any], helpers: Sequence[SignatureProcess], lanes: list["asyncio.Task[Any]"]
    ) -> Outcome:
        """Processes begin with what was signed by the keys that the first events name: mostly there are no others."""
        wanted: Wanted = {}
        self._pile.add(await self._on_thread(partial(read, self.version, wanted, pdus[:SLICE])))
        first = asyncio.create_task(self.ring.keys(dict(wanted)))
        lanes += [
            first,
            *(asyncio.create_task(self._prove(h, first)) for h in helpers for _ in range(_ORDERS)),
        ]
        await asyncio.wait([first], timeout=HEAD_START)
        for start in range(SLICE, len(pdus), SLICE):
            some = pdus[start : start + SLICE]
            self._pile.add(await self._on_thread(partial(read, self.version, wanted, some)))
        self._keys = await self.ring.keys(wanted)
        found = unverified(self._pile.read)
        self._pile.end()
        lanes.append(asyncio.create_task(self._verify_proven()))
        return found

    async def _prove(self, helper: SignatureProcess, first: "asyncio.Task[ServerKeys]") -> None:
        keys, pile = await asyncio.shield(first), self._pile
        if not pile.complete:
            self._keys = keys
        while (index := await pile.next()) is not None:
            some = pile.read[index]
            if not pile.complete and not named(some) <= self._keys.keys():
                pile.aside.append(index)
                continue
            try:
                pile.proven[index] = frozenset(await helper.holding(claims(some, self._keys)))
            except Lost:
                return  # what it had taken is verified in the end
            if pile.complete:
                await self._verify(index)

    async def _verify_proven(self) -> None:
        """Hardly any work, and what they were read into is not needed any more."""
        for index in [*self._pile.proven]:
            await self._verify(index)

    async def _outcome(self, lanes: list["asyncio.Task[Any]"]) -> Outcome:
        """Who waits for it helps: until then this process has better things to do."""
        if self._verifying is None:
            self._verifying = asyncio.create_task(self._verify_all(lanes[:]))
            lanes.append(self._verifying)
        return await asyncio.shield(self._verifying)

    async def _verify_all(self, lanes: Sequence["asyncio.Task[Any]"]) -> Outcome:
        pile = self._pile
        while (index := await pile.next()) is not None:
            await self._verify(index)
        await asyncio.gather(*lanes)
        for index in range(len(pile.read)):
            if index not in pile.results:
                await self._verify(index)
        return [one for index in range(len(pile.read)) for one in pile.results[index]]

    async def _verify(self, index: int) -> None:
        pile = self._pile
        known = pile.proven.pop(index, frozenset())
        pile.results[index] = await self._on_thread(partial(verified, self._keys, pile.read[index], known))
        pile.read[index] = []

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
