"""Checks 1 to 3 on receipt of PDUs, for many at a time [ss "Checks performed on receipt of a PDU"].

The keys that all of them need are had in one go. A signature costs some 55 µs, during which PyNaCl lets other threads
run; so more than a handful are checked in slices on threads of their own, and the event loop goes on meanwhile. All are
read before the first signature is verified: threads that do both in turn spend a third of their time waiting for each
other. Thousands have more done for them (`large_check`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from attrs import field, frozen

from federation.large_check import Checking, Keys, LargeCheck, Outcome
from federation.pdu_slices import Wanted, read, verified
from homeserver.core.room_versions import RoomVersion

AT_ONCE = 8  # so many are checked where we stand: under a millisecond
SLICE = 256  # so many in one go on a thread: 7 ms of reading, or 16 of signatures
MANY = 1024  # of so many, signatures are worth a process
THREADS = 2

A = TypeVar("A")
B = TypeVar("B")


def _threads() -> Executor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="pdu-checks")


@frozen
class PduChecks:
    """From JSON, parsed or not, to what `Arrivals` takes."""

    ring: Keys
    threads: Executor = field(factory=_threads)

    async def check(self, pdus: Sequence[Any], version: RoomVersion) -> Outcome:
        """What becomes of each of the PDUs of one room, in their order."""
        async with self.begun(pdus, version) as checking:
            return await checking.outcome()

    @asynccontextmanager
    async def begun(self, pdus: Sequence[Any], version: RoomVersion) -> AsyncIterator[Checking]:
        """The same, for who can go on before all signatures are verified, as long as they may turn out to be wrong."""
        if len(pdus) < MANY:
            checked = await self._few(pdus, version)
            yield Checking(checked, partial(_as_it_is, checked))
            return
        async with LargeCheck(self.ring, self.threads, version).begun(pdus) as checking:
            del pdus  # the whole answer, as text
            yield checking

    async def _few(self, pdus: Sequence[Any], version: RoomVersion) -> Outcome:
        wanted: Wanted = {}
        # Python's own work cannot be shared out to threads; the signatures are computed beside it.
        found = await self._on_threads(partial(read, version, wanted), pdus, lanes=1)
        keys = await self.ring.keys(wanted)
        return await self._on_threads(partial(verified, keys), found, lanes=THREADS)

    async def _on_threads(
        self, work: Callable[[Sequence[A]], list[B]], items: Sequence[A], *, lanes: int
    ) -> list[B]:
        """`work` on all the items, in slices where they are many."""
        if len(items) <= AT_ONCE:
            return work(items)
        slices = [items[start : start + SLICE] for start in range(0, len(items), SLICE)]
        results: list[list[B]] = [[] for _ in slices]
        todo = iter(enumerate(slices))  # shared: each lane takes the next one
        await asyncio.gather(*(self._lane(work, todo, results) for _ in range(lanes)))
        return [one for some in results for one in some]

    async def _lane(
        self,
        work: Callable[[Sequence[A]], list[B]],
        todo: Iterator[tuple[int, Sequence[A]]],
        results: list[list[B]],
    ) -> None:
        """One slice after the other, so that a big batch leaves room on the threads for small ones."""
        loop = asyncio.get_running_loop()
        for place, items in todo:
            results[place] = await loop.run_in_executor(self.threads, work, items)


async def _as_it_is(checked: Outcome) -> Outcome:
    return checked
