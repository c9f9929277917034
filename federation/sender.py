"""The sender: follows the clock, and sees to it that every server in a room gets what happened there.

One loop reads what is new for others and offers it to their queues; `federation.lanes` decides who is served when,
`federation.courier` carries one transaction after the other. Nothing is written for an event but the bookmarks: how
far the clock has been followed, and which servers have not got everything up to there. After a crash these are served
from their bookmarks on, so events are delivered at least once, and never lost.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from attrs import define, field

from federation.destination_queue import DestinationQueue, Outgoing
from federation.lanes import Lanes
from federation.outbound_edus import EduSource
from federation.packing import Packing
from federation.passing_by import PassingBy, PassingNews
from federation.roster import Roster
from homeserver.services.commit_news import CommitNews, News
from homeserver.services.turns import take_turns
from storage import outbound_events
from storage.committer import Kind
from storage.database import Connection
from storage.outbound_events import OutboundEvent, Span
from storage.streams import current_position

PAGE = 200  # events read at once
PAUSE = 0.02  # seconds between two looks: what happens meanwhile is read together
POLL = 5.0  # seconds after which we look for what other processes have written
STORE_EVERY = 1.0
OFFERS = 500  # to queues, before others get their turn
MOST_ALONE = 50_000


@define(eq=False)
class Sender:
    """The follower. `run` is its whole life."""

    news: CommitNews
    roster: Roster
    lanes: Lanes
    packing: Packing
    passing: PassingBy
    sources: Sequence[EduSource]
    position: int = 0  # up to here, events have been offered to queues
    _told: int = 0  # up to here, EDUs
    _alone: dict[int, int] = field(factory=dict)  # room with nobody else in it -> length of its main line
    _stored_at: float = field(default=0.0, init=False)
    _looked_at: float = field(default=0.0, init=False)
    _seen: int = field(default=0, init=False)  # of the clock, when we looked last

    async def run(self) -> None:
        """Take up where the last run stopped; go on until cancelled."""
        await self._begin()
        try:
            await take_turns(self._turn, self.news, "the sender")
        finally:
            await self.lanes.close()
            await self.roster.store(self.position)

    def retry_now(self, name: str) -> None:
        """The operator says that a server is up: whatever waits is sent at once."""
        queue = self.roster.known(name)
        if queue is not None:
            queue.refusals = 0
            self.lanes.wake(name, at_once=True)

    def may_be_up(self, name: str) -> None:
        """A server can be asked again sooner than was thought."""
        queue = self.roster.known(name)
        if queue is not None and queue.has_anything:
            self.lanes.wake(name, at_once=True)

    async def _begin(self) -> None:
        async with self.packing.reading.database.read() as conn:
            now = await current_position(conn)
        stored = await self.roster.load()
        self.position = self._told = now if stored is None else stored
        for queue in list(self.roster):
            self.lanes.wake(queue.name)
        for source in self.sources:
            self._flag(source, await source.destinations(0, now))
        self.news.look_everywhere(now)

    async def _turn(self) -> None:
        """Wait for news and pass them on."""
        await self.news.wait(STORE_EVERY)
        await self._look_beyond()
        await self.follow(self.news.take())
        self._wake(await self.passing.renew_typing())
        await self._store_sometimes()
        await asyncio.sleep(PAUSE)

    async def _look_beyond(self) -> None:
        """Has another process written something? What this one has written is told before the next look."""
        now = asyncio.get_running_loop().time()
        if now - self._looked_at < POLL:
            return
        self._looked_at = now
        if self._seen > self.news.position:
            self.news.look_everywhere(self._seen)
        async with self.packing.reading.database.read() as conn:
            self._seen = await current_position(conn)

    async def follow(self, news: News) -> None:
        """Offer what is new up to the position of the news."""
        if news.position > self.position or news.everywhere:
            await self._events(news)
        if news.everywhere or news.kinds:
            await self._edus(news)
        entered = {nid: one for nid, one in news.entered.items() if not self._is_alone(nid, news)}
        if entered:
            self._wake(await self.passing.greet(entered))
        self._told = max(self._told, news.position)

    async def _events(self, news: News) -> None:
        lengths = {nid: sp for nid, sp in news.lengths.items() if not self._stays_alone(nid, sp, news)}
        if lengths or news.everywhere:
            async with self.packing.reading.database.read() as conn:
                rooms = list(lengths)
                if news.everywhere:
                    rooms = await outbound_events.rooms_moved(conn, self.position)
                await self._events_of(conn, rooms, news.position)
                await self._note_alone(conn, lengths)
        self.position = max(self.position, news.position)

    async def _events_of(self, conn: Connection, rooms: Sequence[int], upto: int) -> None:
        reading = self.packing.reading
        while rooms and self.position < upto:
            lows = [(nid, self.position) for nid in rooms]
            span = Span(self.position, upto)
            events = await outbound_events.to_send(conn, reading.our_name, lows, span, PAGE)
            await self._offer(conn, events)
            self.position = events[-1].position if len(events) == PAGE else upto

    def _stays_alone(self, room_nid: int, sp: int, news: News) -> bool:
        """Was nobody else in a room when we looked last, and has only one of ours come or gone since?"""
        alone = self._alone.get(room_nid)
        if alone is None or alone not in (sp, news.befores.get(room_nid)):
            return False
        self._alone[room_nid] = sp
        return True

    def _is_alone(self, room_nid: int, news: News) -> bool:
        return room_nid in self._alone and self._alone[room_nid] == news.lengths.get(room_nid)

    async def _note_alone(self, conn: Connection, lengths: Mapping[int, int]) -> None:
        """Rooms with nobody else in them are passed over from here on, until somebody comes."""
        reading = self.packing.reading
        found = await reading.routes.room_servers.at(conn, lengths.items())
        if len(self._alone) > MOST_ALONE:
            self._alone.clear()
        for (nid, sp), names in found.items():
            if names <= {reading.our_name}:
                self._alone[nid] = sp

    async def _offer(self, conn: Connection, events: Sequence[OutboundEvent]) -> None:
        routed = await self.packing.reading.routes.of(conn, events)
        offers = 0
        for event, servers in zip(await self.packing.leaving(events), routed, strict=True):
            for name in servers:
                queue = self.roster.queue(name)
                if queue is not None:
                    self._give(queue, event)
                    offers += 1
                    if offers % OFFERS == 0:
                        await asyncio.sleep(0)

    def _give(self, queue: DestinationQueue, event: Outgoing) -> None:
        queue.offer(event)
        self.roster.moved(queue.name)
        self.lanes.wake(queue.name)

    async def _edus(self, news: News) -> None:
        span = Span(self._told, news.position)
        rooms = None if news.everywhere else news.rooms
        self._wake(await self.passing.tell(PassingNews(span, news.kinds, rooms)))
        for source in self.sources:
            if news.everywhere or source.kind in news.kinds or Kind.ANYTHING in news.kinds:
                self._flag(source, await source.destinations(span.after, span.upto))

    def _flag(self, source: EduSource, names: Collection[str]) -> None:
        for name in names:
            queue = self.roster.queue(name)
            if queue is not None:
                queue.sources.add(source)
                self.lanes.wake(name)

    def _wake(self, names: Collection[str]) -> None:
        """Servers with something new in their mailboxes; of those that are down, little is kept there."""
        for name in names:
            queue = self.roster.known(name)
            if queue is not None and self.lanes.is_parked(name):
                queue.mailbox.down(self.lanes.clock() / 1000)
            else:
                self.lanes.wake(name)

    async def _store_sometimes(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._stored_at >= STORE_EVERY:
            self._stored_at = now
            await self.roster.store(self.position)
