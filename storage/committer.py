"""Group commit: one task writes what is waiting, of all rooms and all kinds, in one transaction.

A durable commit costs a flush and round trips, so while one runs the next queue fills; nobody is delayed on
purpose. A turn takes its numbers from the clock once. Events and the state they change are a single statement;
relations, redactions and the like add others, and `jobs` (receipts, account data, …: any function of a connection
and its position) follow in the same transaction.

When a turn fails, its parts are tried one by one, so that each caller hears of its own fault only. When the database
is lost meanwhile, nobody knows what has been written, and all hear of that at once: nothing is done twice. A batch
whose head has moved (another process, or an earlier batch that failed) raises HeadMoved: the room's head
must be thrown away and built again. `committed` is called synchronously, in commit order, before callers go on.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Any, TypeVar

import asyncpg
import structlog
from attrs import define, field, frozen

from storage.batch_statements import write_batches
from storage.database import Connection, Database, Unavailable
from storage.room_batches import RoomBatch
from storage.streams import advance

T = TypeVar("T")

log = structlog.get_logger(__name__)
Job = Callable[[Connection, int], Awaitable[T]]

MAX_PARTS = 100  # batches and jobs of one turn; larger turns gain nothing and cost latency
MAX_WAITING = 20_000  # beyond this a caller is refused at once: the database cannot keep up


class HeadMoved(Exception):
    """The room's head is not what the batch stood on; nothing was written."""


class Overloaded(Exception):
    """Too much is waiting to be written; nothing was written."""


class Kind(Enum):
    """What a write is about, for those who wait: they ask the database only for kinds that something happened to."""

    EVENTS = auto()
    ACCOUNT_DATA = auto()
    PUSH_RULES = auto()  # account data for who waits, and more for who evaluates them
    RECEIPTS = auto()
    TYPING = auto()
    PRESENCE = auto()
    TO_DEVICE = auto()
    TO_DEVICE_ELSEWHERE = auto()  # messages for devices of other servers: wakes nobody here
    DEVICE_LISTS = auto()
    THREAD_SUBSCRIPTIONS = auto()
    PROFILES = auto()
    PEEKS = auto()  # which rooms the user's devices look into
    KEY_COUNTS = auto()  # tells how many keys a device has left: wakes nobody, every answer says it
    ANYTHING = auto()  # not told: whoever waits looks at all


@frozen
class Touched:
    """Whom a write concerns: users and rooms by number. They are woken after the commit.

    `elsewhere` is what it has for other servers, where that is not what users and rooms are told of.
    """

    users: tuple[int, ...] = ()
    rooms: tuple[int, ...] = ()
    kind: Kind = Kind.ANYTHING
    elsewhere: Kind | None = None


@frozen
class Committed:
    """A part of a turn that is durable now. `first` is the number of its first event, or its only number."""

    first: int
    batch: RoomBatch | None
    touched: Touched

    @property
    def before(self) -> int:
        """The number before all that the part took."""
        return self.first - 1 - (self.batch.reserve if self.batch is not None else 0)


@frozen(eq=False)
class _Part:
    batch: RoomBatch | None
    job: Job[Any] | None
    touched: Touched
    done: asyncio.Future[Any]
    since: float = field(factory=time.monotonic)

    @property
    def numbers(self) -> int:
        return self.batch.numbered if self.batch is not None else 1


def _unobserved(parts: int, seconds: float) -> None:
    """For who measures nothing."""


@define
class CommitStatistics:
    """Counts since the start, for the metrics."""

    turns: int = 0
    parts: int = 0
    failed_turns: int = 0


@define(eq=False)
class Committer:
    """The one way in which this process writes what has a position."""

    database: Database
    committed: Callable[[int, list[Committed]], None]
    observe: Callable[[int, float], None] = _unobserved  # parts of a turn, seconds its oldest part waited
    statistics: CommitStatistics = field(factory=CommitStatistics)
    _waiting: list[_Part] = field(factory=list)
    _task: asyncio.Task[None] | None = None

    def append(self, batch: RoomBatch, touched: Touched) -> "asyncio.Future[int]":
        """Queue a room's batch, in the order of calls. The future gives the number before its first event."""
        return self._enqueue(batch, None, touched)

    async def run(self, job: Job[T], touched: Touched) -> T:
        """Run `job(conn, position)` in the next turn's transaction; returns its result once it is durable.

        The job may run twice (a turn that failed for another's fault), so all its effects are in the database.
        """
        result: T = await asyncio.shield(self._enqueue(None, job, touched))
        return result

    async def drain(self) -> None:
        """Wait until nothing is waiting any more: for a clean stop."""
        while self._task is not None and not self._task.done():
            await asyncio.shield(self._task)

    @property
    def waiting(self) -> int:
        """How many parts wait for their turn."""
        return len(self._waiting)

    def _enqueue(
        self, batch: RoomBatch | None, job: Job[Any] | None, touched: Touched
    ) -> "asyncio.Future[Any]":
        if len(self._waiting) >= MAX_WAITING:
            raise Overloaded("the database does not keep up with what is to be written")
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Part(batch, job, touched, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="committer")
        return done

    async def _work(self) -> None:
        while self._waiting:
            parts, self._waiting = self._waiting[:MAX_PARTS], self._waiting[MAX_PARTS:]
            await self._commit(parts)

    async def _commit(self, parts: list[_Part]) -> None:
        try:
            base, results = await self._write(parts)
        except Exception as fault:
            self.statistics.failed_turns += 1
            if len(parts) == 1 or isinstance(fault, (Unavailable, TimeoutError)):
                for part in parts:
                    _fail(part, fault)
                return
            for part in parts:
                await self._commit([part])
            return
        self.statistics.turns += 1
        self.statistics.parts += len(parts)
        self.observe(len(parts), time.monotonic() - parts[0].since)
        self._announce(parts, base, results)

    async def _write(self, parts: list[_Part]) -> tuple[int, list[Any]]:
        """One transaction: returns the number before the turn's first, and the jobs' results by part."""
        batches = [part.batch for part in parts if part.batch is not None]
        jobs = [part for part in parts if part.job is not None]
        total = sum(part.numbers for part in parts)
        if not jobs and not any(needs_transaction(batch) for batch in batches):
            async with self.database.writer() as conn:
                return await write_batches(conn, batches, total), []
        async with self.database.transaction() as conn:
            base = await (write_batches(conn, batches, total) if batches else advance(conn, total))
            position = base + total - len(jobs)
            results = []
            for number, part in enumerate(jobs, start=1):
                assert part.job is not None
                results.append(await part.job(conn, position + number))
            return base, results

    def _announce(self, parts: list[_Part], base: int, results: list[Any]) -> None:
        """Batches first, jobs after them: the order in which `_write` gave the numbers."""
        batches = [part for part in parts if part.batch is not None]
        jobs = [part for part in parts if part.job is not None]
        heard, position = [], base
        for part in batches + jobs:
            reserve = part.batch.reserve if part.batch is not None else 0
            heard.append(Committed(position + reserve + 1, part.batch, part.touched))
            position += part.numbers
        try:
            self.committed(position, heard)
        except Exception:  # what is durable is durable: the fault is the operator's news, not the callers'
            log.exception("whoever listens to commits has a fault", position=position)
        for commit, part in zip(heard, batches, strict=False):
            _succeed(part, commit.first - 1)
        for part, result in zip(jobs, results, strict=True):
            _succeed(part, result)


def needs_transaction(batch: RoomBatch) -> bool:
    """Does the batch take more than the one statement of its events and its state?"""
    return bool(
        batch.new_room
        or batch.relations
        or batch.redactions
        or batch.missing
        or batch.found
        or batch.outliers
        or batch.relayed
        or any(change.event_nid is None for change in batch.state)
    )


def _succeed(part: _Part, result: Any) -> None:
    if not part.done.done():
        part.done.set_result(result)


def _fail(part: _Part, fault: Exception) -> None:
    if isinstance(fault, asyncpg.PostgresError) and fault.sqlstate == "HM001":
        moved = HeadMoved("the room's head has moved")
        moved.__cause__ = fault
        fault = moved
    if not part.done.done():
        part.done.set_exception(fault)
        part.done.exception()  # a caller that has gone away leaves no warning behind
