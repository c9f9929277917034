"""The push sender: follows the clock, and has every pusher told what came for its user.

It only knows which pushers may have something to tell, and in which rooms; what that is, is read when it is told. Each
pusher keeps its own bookmark, so that after a crash nothing is lost, and what was told is told twice at worst.
"""

import asyncio
from collections.abc import Iterable

import structlog
from attrs import define, field

from homeserver.services.push_courier import Errand, Outcome, PushCourier
from homeserver.services.push_gateways import Gateways
from homeserver.services.push_news import PushNews, PushWork
from homeserver.services.turns import AFTER_A_FAULT, take_turns
from storage import pushers
from storage.database import Database
from storage.streams import current_position

log = structlog.get_logger(__name__)

AT_ONCE = 50  # pushers served at the same time
PAUSE = 0.05  # seconds between two looks: what happens meanwhile is read together
POLL = 5.0  # seconds after which we look for what other processes have written
STORE_EVERY = 60.0
GRACE = 2.0  # seconds in which pushers may finish at the end


@define
class Todo:
    """What a pusher may have to tell: in these rooms (None: anywhere), and whether its user has read something."""

    room_nids: set[int] | None = field(factory=set)
    read: bool = False

    def anywhere(self) -> None:
        """Look in all of the user's rooms."""
        self.room_nids = None

    def add(self, room_nid: int) -> None:
        """Look in this room too."""
        if self.room_nids is not None:
            self.room_nids.add(room_nid)


@define(eq=False)
class PushSender:
    """The follower. `run` is its whole life."""

    database: Database
    news: PushNews
    courier: PushCourier
    gateways: Gateways
    position: int = 0
    _todo: dict[int, Todo] = field(factory=dict)
    _tasks: dict[int, "asyncio.Task[None]"] = field(factory=dict)
    _resting: dict[int, asyncio.TimerHandle] = field(factory=dict)
    _places: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(AT_ONCE))
    _stored_at: float = field(default=0.0, init=False)
    _ending: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Take up where the last run stopped; go on until cancelled."""
        async with self.database.read() as conn:
            self.news.look_everywhere(await current_position(conn))
        try:
            await take_turns(self._turn, self.news, "the push sender")
        finally:
            await self._end()

    @property
    def busy(self) -> int:
        """How many pushers are being served or wait for that."""
        return len(self._tasks)

    @property
    def resting(self) -> int:
        """How many wait because their gateway fails."""
        return len(self._resting)

    async def settled(self) -> None:
        """Until nobody is being served."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def follow(self, work: PushWork) -> None:
        """Set the pushers going that may have something to tell."""
        async with self.database.read() as conn:
            if work.everywhere:
                found = [(nid, 0) for nid in await pushers.behind(conn, work.position)]
            else:
                found = await pushers.concerned(conn, work.told | work.read, work.users)
        for nid, room_nid in found:
            todo = self._todo.setdefault(nid, Todo())
            todo.read |= room_nid == 0 or room_nid in work.read
            if room_nid:
                todo.add(room_nid)
            else:
                todo.anywhere()
        self.position = max(self.position, work.position)
        self._start(nid for nid, _ in found)

    async def _turn(self) -> None:
        await self.news.wait(POLL)
        work = self.news.take()
        if work.everywhere or work.told or work.read or work.users:
            await self.follow(work)
        await self._look_beyond()
        await asyncio.sleep(PAUSE)

    async def _look_beyond(self) -> None:
        """Now and then: store how far we are, and see whether another process has written something."""
        now = asyncio.get_running_loop().time()
        if now - self._stored_at < STORE_EVERY:
            return
        self._stored_at = now
        await self._store(self._busy())
        heard = self.news.position
        async with self.database.read() as conn:
            position = await current_position(conn)
        if position > max(heard, self.news.position):
            self.news.look_everywhere(position)

    def _busy(self) -> set[int]:
        return {*self._todo, *self._tasks, *self._resting}

    async def _store(self, busy: set[int]) -> None:
        """Who has nothing to tell has told everything."""
        async with self.database.writer() as conn:
            await pushers.caught_up(conn, self.position, busy)

    async def _end(self) -> None:
        self._ending = True
        tasks = list(self._tasks.values())
        if tasks:  # what is under way is likely to arrive, and would be told twice
            await asyncio.wait(tasks, timeout=GRACE)
        busy = self._busy()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for timer in self._resting.values():
            timer.cancel()
        await self.gateways.close()
        await self._store(busy)

    def _start(self, nids: Iterable[int]) -> None:
        for nid in nids:
            if self._ending:
                return
            if nid in self._todo and nid not in self._tasks and nid not in self._resting:
                self._tasks[nid] = asyncio.create_task(self._served(nid), name=f"pusher {nid}")

    async def _served(self, nid: int) -> None:
        """Serve a pusher until it has nothing to tell or must rest."""
        wait = 0.0
        try:
            async with self._places:
                while nid in self._todo and not wait:
                    wait = await self._serve(nid)
        except Exception as cause:  # one pusher's fault is not the others'
            log.warning("a pusher could not be served", pusher=nid, cause=repr(cause))
            wait = AFTER_A_FAULT
        finally:
            del self._tasks[nid]
        if wait:
            self._todo.setdefault(nid, Todo()).anywhere()
            timer = asyncio.get_running_loop().call_later(wait, self._rested, nid)
            self._resting[nid] = timer
        else:
            self._start([nid])

    async def _serve(self, nid: int) -> float:
        """One batch; gives the seconds to rest after it."""
        todo = self._todo.pop(nid)  # with all that is known of up to our position
        outcome, retry_ts = await self.courier.serve(nid, Errand(self.position, todo.room_nids, todo.read))
        if outcome is Outcome.MORE:
            known = self._todo.setdefault(nid, Todo())
            known.read |= todo.read
            for room_nid in todo.room_nids or ():
                known.add(room_nid)
            if todo.room_nids is None:
                known.anywhere()
        elif outcome is Outcome.LATER:
            return max(0.05, (retry_ts - self.courier.clock()) / 1000)
        return 0.0

    def _rested(self, nid: int) -> None:
        del self._resting[nid]
        self._start([nid])
