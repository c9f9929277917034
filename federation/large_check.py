"""Checks 1 to 3 on thousands of PDUs: while the later ones are read here, another process verifies the first.

What processes tell is only which signatures hold; what follows from that for an event is judged here, with the keys
for all events. Once everything is read, this process verifies too. Where another one fails, this one does its work.
"""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

from attrs import define, field, frozen

from federation.pdu_slices import Read, Wanted, claims, named, read, unverified, verified
from federation.signature_process import Claim, Lost, SignatureProcess, signature_process
from homeserver.core.receipt_checks import Dropped, ServerKeys
from homeserver.core.room_versions import RoomVersion
from homeserver.services.judging import Arrival
from storage.server_keys import KeyName

SLICE = 256  # events: 7 ms of reading, 16 of signatures
MOST_PROCESSES = 3
HEAD_START = (
    0.1  # seconds: a loop that shares Python's lock with a thread takes ten times as long to ask for keys
)
BULK = 4  # slices in an order, once nothing is left to be read: others have less time to prepare orders then
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
    """Slices by number: as they were read, those nobody has taken yet, what processes found out, what they came to."""

    read: list[list[Read | Dropped]] = field(factory=list)
    todo: deque[int] = field(factory=deque)
    aside: list[int] = field(factory=list)  # until there are all keys
    proven: dict[int, frozenset[Claim]] = field(factory=dict)
    results: dict[int, Outcome] = field(factory=dict)
    complete: bool = False  # there are all keys, and all is read

    def further(self, most: int) -> list[int]:
        """Some more that nobody has."""
        return [self.todo.popleft() for _ in range(min(most, len(self.todo)))]

    def outcome(self) -> Outcome | None:
        """That of all, if there is one."""
        if len(self.results) < len(self.read):
            return None
        return [one for number in range(len(self.read)) for one in self.results[number]]


@define(eq=False)
class LargeCheck:
    """The way of one large batch."""

    ring: Keys
    threads: Executor
    version: RoomVersion
    processes: int = field(factory=lambda: min(MOST_PROCESSES, _cores() - 1))
    _keys: ServerKeys = field(factory=dict, init=False)
    _pile: _Pile = field(factory=_Pile, init=False)
    _news: asyncio.Event = field(factory=asyncio.Event, init=False)
    _awaited: bool = field(default=False, init=False)

    @asynccontextmanager
    async def begun(self, pdus: Sequence[Any]) -> AsyncIterator[Checking]:
        """All is read, and the keys are had, before the block begins; what is not verified at its end never is."""
        tasks: list[asyncio.Task[Any]] = []
        try:
            found = await self._read_all(pdus, tasks)
            del pdus  # the whole answer, as text
            verifying = asyncio.create_task(self._verify_all())
            tasks.append(verifying)
            yield Checking(found, partial(self._outcome, verifying))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_all(self, pdus: Sequence[Any], tasks: list["asyncio.Task[Any]"]) -> Outcome:
        """Processes begin with what was signed by the keys that the first events name: mostly there are no others."""
        wanted: Wanted = {}
        await self._read(wanted, pdus[:SLICE])
        first = asyncio.create_task(self.ring.keys(dict(wanted)))
        tasks += [first, *(asyncio.create_task(self._helped(first)) for _ in range(self.processes))]
        await asyncio.wait([first], timeout=HEAD_START)
        for start in range(SLICE, len(pdus), SLICE):
            await self._read(wanted, pdus[start : start + SLICE])
        self._keys = await self.ring.keys(wanted)
        self._pile.todo.extend(self._pile.aside)
        self._pile.complete = True
        self._news.set()
        return unverified(self._pile.read)

    async def _read(self, wanted: Wanted, pdus: Sequence[Any]) -> None:
        found = await self._on_thread(partial(read, self.version, wanted, pdus))
        self._pile.todo.append(len(self._pile.read))
        self._pile.read.append(found)
        self._news.set()

    async def _helped(self, first: "asyncio.Task[ServerKeys]") -> None:
        """A process works until there is nothing left that nobody has taken."""
        async with signature_process() as helper:
            keys = await asyncio.shield(first)
            if not self._pile.complete:
                self._keys = keys
            await asyncio.gather(*(self._prove(helper) for _ in range(_ORDERS)))

    async def _prove(self, helper: SignatureProcess) -> None:
        pile = self._pile
        while pile.todo or not pile.complete:
            if not pile.todo:
                await self._wait()
                continue
            taken = pile.further(BULK if pile.complete else 1)
            some = [one for number in taken for one in pile.read[number]]
            if not pile.complete and not named(some) <= self._keys.keys():
                pile.aside += taken
                continue
            try:
                true = frozenset(await helper.holding(claims(some, self._keys)))
                pile.proven |= dict.fromkeys(taken, true)
            except Lost:
                return
            finally:
                if taken[0] not in pile.proven:
                    pile.todo.extend(taken)
                self._news.set()

    async def _outcome(self, verifying: "asyncio.Task[Outcome]") -> Outcome:
        """Who waits for it helps: until then this process has better things to do."""
        self._awaited = True
        self._news.set()
        return await asyncio.shield(verifying)

    async def _verify_all(self) -> Outcome:
        """First what processes have proven: that is hardly any work, and what was read is not needed any more."""
        pile = self._pile
        while (outcome := pile.outcome()) is None:
            if pile.proven:
                number, true = pile.proven.popitem()
            elif pile.todo and self._awaited:
                number, true = pile.todo.popleft(), frozenset()
            else:
                await self._wait()
                continue
            work = partial(verified, self._keys, pile.read[number], true)
            pile.results[number] = await self._on_thread(work)
            pile.read[number] = []
        return outcome

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
