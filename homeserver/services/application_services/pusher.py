"""Follows the clock for application services, and pushes each what it cares for, in order [as "Pushing events"].

One loop writes transactions: for all services that stand at the same place together, and one a service. A task for each
service then has it taken, with growing pauses while the service fails; only then comes the next. What is written is
what is pushed, also after a crash, so the service can tell by its id what it has seen. Nobody else waits for any of it.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import suppress

import structlog
from attrs import define, field

from homeserver.core.application_services import ApplicationService
from homeserver.core.backoff import Backoff
from homeserver.services.application_services.contents import Content, Contents
from homeserver.services.application_services.http import ServiceFault, ServiceHttp
from homeserver.services.application_services.news import Hints, ServiceNews
from homeserver.services.turns import AFTER_A_FAULT, take_turns
from storage import application_services as rows
from storage.application_services import Pending, Queue
from storage.database import Database, Unavailable
from storage.streams import current_position

log = structlog.get_logger(__name__)

PAUSE = 0.02  # seconds in which what happens gathers
POLL = 5.0  # seconds after which we look for what other processes have written
STORE_EVERY = 60.0
GRACE = 2.0  # seconds in which transactions may be taken at the end
MAX_WHY = 500  # characters of a failure that are kept
BACKOFF = Backoff(first=1.0, longest=512.0, factor=2.0)


@define(eq=False)
class Standing:
    """How far a service is, and what may be new to it since."""

    service: ApplicationService
    position: int = 0
    txn_id: int = 0
    hints: Hints = field(factory=lambda: Hints(everywhere=True))
    task: "asyncio.Task[None] | None" = None
    awake: asyncio.Event = field(factory=asyncio.Event)
    resting: bool = False


@define
class Pushed:
    """Counts since the start, for the metrics."""

    transactions: int = 0
    failures: int = 0


@define(eq=False)
class ServicePusher:
    """The follower. `run` is its whole life."""

    database: Database
    contents: Contents
    http: ServiceHttp
    news: ServiceNews
    clock: Callable[[], int]  # milliseconds
    standings: Mapping[str, Standing]
    backoff: Backoff = BACKOFF
    pushed: Pushed = field(factory=Pushed)
    _stored_at: float = field(default=0.0, init=False)

    async def run(self) -> None:
        """Take up where the last run stopped; go on until cancelled."""
        try:
            while True:
                try:
                    await self._begin()
                    break
                except (Unavailable, TimeoutError) as cause:
                    log.warning("application services wait", cause=repr(cause))
                    await asyncio.sleep(AFTER_A_FAULT)
            await take_turns(self._turn, self.news, "application services")
        finally:
            await self._end()

    @property
    def busy(self) -> int:
        """How many services have a transaction that they have not taken."""
        return sum(1 for one in self.standings.values() if one.task is not None)

    async def retry(self, service_id: str) -> bool:
        """Whatever its failures say; False for a service that is pushed nothing."""
        standing = self.standings.get(service_id)
        if standing is None:
            return False
        async with self.database.writer() as conn:
            await rows.try_now(conn, [service_id])
        standing.awake.set()
        return True

    async def _begin(self) -> None:
        async with self.database.transaction() as conn:
            now = await current_position(conn)
            await rows.begin(conn, list(self.standings), now)
            found = await rows.queues(conn, list(self.standings))
        for service_id, queue in found.items():
            self._take_up(self.standings[service_id], queue)
        self.news.look_everywhere(now)

    def _take_up(self, standing: Standing, queue: Queue) -> None:
        standing.position, standing.txn_id = queue.position, queue.txn_id
        standing.hints = Hints(everywhere=True, position=self.news.position)
        if queue.pending is not None:
            self._deliver(standing, queue.pending, queue.failures, queue.retry_ts)

    async def _turn(self) -> None:
        if not await self.news.wait(POLL):
            await self._look_beyond()
        hints = self.news.take()
        for standing in self.standings.values():
            standing.hints.merge(hints)
        while await self._write_next():
            pass
        await self._store_now_and_then()
        await asyncio.sleep(PAUSE)

    async def _look_beyond(self) -> None:
        """Has another process written something?"""
        async with self.database.read() as conn:
            position = await current_position(conn)
        if position > self.news.position:
            self.news.look_everywhere(position)

    async def _write_next(self) -> bool:
        """The next transactions of those who stand farthest back; says whether there may be more at once."""
        idle = [one for one in self.standings.values() if one.task is None and _has_hints(one.hints)]
        if not idle:
            return False
        after = min(one.position for one in idle)
        group = [one for one in idle if one.position == after]
        hints = Hints()
        for one in group:
            hints.merge(one.hints)
        made = await self.contents.next([one.service for one in group], after, hints)
        for one in group:
            await self._advance(one, made[one.service.id])
        return True

    async def _advance(self, standing: Standing, content: Content) -> None:
        if content.body is None:
            standing.position = content.upto
        else:
            pending = Pending(standing.txn_id + 1, content.upto, content.device_nids, content.body)
            async with self.database.writer() as conn:
                if not await rows.put_transaction(conn, standing.service.id, pending):
                    await self._read_again(standing)  # another process was faster
                    return
            standing.txn_id = pending.txn_id
            self._deliver(standing, pending, 0, 0)
        if content.upto >= standing.hints.position:
            standing.hints = Hints()

    async def _read_again(self, standing: Standing) -> None:
        async with self.database.read() as conn:
            found = await rows.queues(conn, [standing.service.id])
        self._take_up(standing, found[standing.service.id])

    def _deliver(self, standing: Standing, pending: Pending, failures: int, retry_ts: int) -> None:
        work = self._delivered(standing, pending, failures, retry_ts)
        standing.task = asyncio.create_task(work, name=f"application service {standing.service.id}")

    async def _delivered(self, standing: Standing, pending: Pending, failures: int, retry_ts: int) -> None:
        """Have a transaction taken, however long that takes."""
        while True:
            try:
                await self._rest(standing, retry_ts)
                retry_ts = await self._push(standing, pending, failures)
                if not retry_ts:
                    break
                failures += 1
            except (Unavailable, TimeoutError) as cause:  # it is pushed again, under the same id
                log.warning("an application service waits", id=standing.service.id, cause=repr(cause))
                retry_ts = self.clock() + round(AFTER_A_FAULT * 1000)
            except Exception:
                log.exception("an application service waits", id=standing.service.id)
                retry_ts = self.clock() + round(self.backoff.longest * 1000)
        standing.position = pending.upto
        standing.task = None
        self.news.wake()

    async def _push(self, standing: Standing, pending: Pending, failures: int) -> int:
        """One attempt, noted; gives when to try again, or 0."""
        service = standing.service
        try:
            await self.http.push(service, pending.txn_id, pending.body)
        except ServiceFault as fault:
            self.pushed.failures += 1
            log.info("an application service fails", id=service.id, why=str(fault), failures=failures + 1)
            now = self.clock()
            wait = self.backoff.wait(failures + 1, random.random())  # noqa: S311 (no secret)
            retry_ts = now + max(1, round(wait * 1000))
            async with self.database.writer() as conn:
                await rows.failed(
                    conn, service.id, pending.txn_id, now=now, retry_ts=retry_ts, why=str(fault)[:MAX_WHY]
                )
            return retry_ts
        async with self.database.writer() as conn:
            await rows.delivered(conn, service.id, pending, self.clock())
        self.pushed.transactions += 1
        return 0

    async def _rest(self, standing: Standing, retry_ts: int) -> None:
        """Until it is time, or somebody says that it is."""
        wait = (retry_ts - self.clock()) / 1000
        if wait <= 0:
            return
        standing.awake.clear()
        standing.resting = True
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await standing.awake.wait()
        finally:
            standing.resting = False

    async def _store_now_and_then(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._stored_at >= STORE_EVERY:
            self._stored_at = now
            await self._store()

    async def _store(self) -> None:
        """How far those are who have nothing to take."""
        idle = {
            name: one.position for name, one in self.standings.items() if one.task is None and one.position
        }
        if idle:
            async with self.database.writer() as conn:
                await rows.moved(conn, idle)

    async def _end(self) -> None:
        pushing = [one.task for one in self.standings.values() if one.task is not None and not one.resting]
        if pushing:  # what is under way is likely to arrive, and would be told twice
            await asyncio.wait(pushing, timeout=GRACE)
        tasks = [one.task for one in self.standings.values() if one.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.http.close()
        await self._store()


def _has_hints(hints: Hints) -> bool:
    return hints.everywhere or bool(hints.kinds)
