"""History from before our time in rooms, asked of servers that were there.

[ss "Backfilling and retrieving missing events"]
What we have is told at once; when a reader comes near its beginning, more is fetched beside, so that it is mostly there
when they go on. One fetch a room runs at a time, and whoever wants the same history waits for that one, as long as they
like. After an attempt that brought nothing, the room rests for a while.
"""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence

import structlog
from attrs import define, field, frozen

from federation.told_states import ToldStates, reached_from
from federation.transport.requests import PeerFault
from homeserver.core.auth.state import CREATE, POWER_LEVELS
from homeserver.core.event import Event
from homeserver.core.ids import domain_of
from homeserver.core.power_levels import power_levels
from homeserver.services.histories_behind import HistoriesBehind, TooFarBack
from homeserver.services.judging import Arrival
from homeserver.services.room_servers import RoomServers
from homeserver.services.timeline import Timeline
from storage.histories_behind import Edge, oldest_senders
from storage.rooms import Room

log = structlog.get_logger(__name__)

States = dict[tuple[str, ...], set[str]]  # by the previous events of whoever the state is before

Place = tuple[int, int]  # room number, position of the event behind the gap (0: the room's beginning)

PAGE = 100
POWERFUL = 50
MAX_SERVERS = 5
MAX_TOLD_STATES = 5  # of one page: events that stand on nothing we know
MAX_UNAUTHORIZED = 5  # of one page: events that cite what we do not know
RESTING_ROOMS = 10_000


@frozen
class BackfillLimits:
    """What fetching may cost."""

    seconds: float = 120.0  # one attempt, over all servers
    rest: float = 60.0  # after one that brought nothing


@define(eq=False)
class Backfill:
    """Fetches what is in front of what we have."""

    histories: HistoriesBehind
    told: ToldStates
    servers: RoomServers
    limits: BackfillLimits = BackfillLimits()
    clock: Callable[[], float] = time.monotonic
    _running: "dict[Place, asyncio.Task[bool]]" = field(factory=dict, init=False)
    _resting: OrderedDict[Place, float] = field(factory=OrderedDict, init=False)

    def rests(self, room: Room, position: int = 0) -> bool:
        """Did the last attempt at this place bring nothing, a short time ago?"""
        return self._resting.get((room.nid, position), 0.0) > self.clock()

    async def reach(self, room: Room, patience: float, position: int = 0) -> bool:
        """Begin to fetch, or wait for who has begun; after `patience` seconds others wait. Has anything come?

        What is in front of the event at `position`, behind a gap; at 0, of all that we have.
        """
        if self.rests(room, position):
            return False
        place = (room.nid, position)
        running = self._running.get(place)
        if running is None:
            running = asyncio.create_task(self._attempt(room, position))
            self._running[place] = running
        await asyncio.wait([running], timeout=patience)
        return running.done() and not running.cancelled() and running.result()

    async def run(self) -> None:
        """Until cancelled: then nothing is fetched any more."""
        try:
            await asyncio.Event().wait()
        finally:
            running = list(self._running.values())
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _attempt(self, room: Room, position: int) -> bool:
        came = False
        try:
            async with asyncio.timeout(self.limits.seconds):
                came = await self._fetch(room, position)
        except TimeoutError:
            log.info("history takes too long", room_id=room.room_id)
        except TooFarBack as reason:
            log.info("history not kept", room_id=room.room_id, reason=str(reason))
        except Exception:  # whoever waits has an answer of ours: what there is
            log.exception("history not fetched", room_id=room.room_id)
        finally:
            del self._running[room.nid, position]
            if not came:
                self._rest((room.nid, position))
        return came

    async def _fetch(self, room: Room, position: int) -> bool:
        edge = await self.histories.edge(room, position)
        if edge is None:
            return False
        for server in await self._order(room):
            try:
                count = await self._from(server, room, edge)
            except PeerFault as fault:
                log.info("no history from", room_id=room.room_id, server=server, reason=fault.reason)
                continue
            if count:
                log.info("history fetched", room_id=room.room_id, server=server, events=count)
                return True
        return False

    async def _from(self, server: str, room: Room, edge: Edge) -> int:
        pdus = await self.told.events.backfill(server, room.room_id, edge.wanted, PAGE)
        page = await self._fitting(room, edge, await self.told.checked(room, pdus[:PAGE]))
        states: States = {}
        page, standing = await self._standing(room, page)
        await self._tell(server, room, standing, states)
        if lost := await self._authorize(server, room, page):
            rest = {event_id: one for event_id, one in page.items() if event_id not in lost}
            page, standing = await self._standing(room, reached_from(edge.wanted, rest))
            await self._tell(server, room, standing, states)
        told = {event.event_id: states[event.prev_events] for event in standing}
        return await self.histories.take(room, edge, list(page.values()), told)

    async def _fitting(self, room: Room, edge: Edge, found: Mapping[str, Arrival]) -> dict[str, Arrival]:
        """What leads up to the edge and has no place yet."""
        page = reached_from(edge.wanted, found)
        new = await self.told.without_place(room, page)
        return {event_id: arrival for event_id, arrival in page.items() if event_id in new}

    async def _tell(self, server: str, room: Room, standing: Sequence[Event], states: States) -> None:
        """The states before events; who shares its previous events with another one shares its state."""
        for event in standing:
            if event.prev_events not in states:
                states[event.prev_events] = await self.told.before(server, room, event)

    async def _standing(
        self, room: Room, page: Mapping[str, Arrival]
    ) -> tuple[dict[str, Arrival], list[Event]]:
        """The page, shortened until few of its events have unknown ones in front of them, and those."""
        parents = {parent for arrival in page.values() for parent in arrival.event.prev_events}
        unknown = await self.told.without_place(room, parents - page.keys())
        kept = dict(sorted(page.items(), key=lambda item: item[1].event.depth))
        while True:
            standing = [one.event for one in kept.values() if not unknown.isdisjoint(one.event.prev_events)]
            if len({event.prev_events for event in standing}) <= MAX_TOLD_STATES:
                return kept, standing
            shallowest = next(iter(kept))
            del kept[shallowest]
            unknown.add(shallowest)

    async def _authorize(self, server: str, room: Room, page: Mapping[str, Arrival]) -> set[str]:
        """Fetch what authorizes events of the page and is neither in it nor known; gives those it fails for."""
        citing = await self._unauthorized(room, page)
        for event_id in citing[:MAX_UNAUTHORIZED]:
            await self.told.authorizing(server, room, event_id)
        return set(await self._unauthorized(room, page)) if citing else set()

    async def _unauthorized(self, room: Room, page: Mapping[str, Arrival]) -> list[str]:
        cited = {one for arrival in page.values() for one in arrival.event.auth_events}
        unknown = await self.told.unknown(room, cited - page.keys())
        return [i for i, one in page.items() if not unknown.isdisjoint(one.event.auth_events)]

    async def _order(self, room: Room) -> list[str]:
        """Whom to ask: the authors of the oldest events that we have, who has power in the room, then the others."""
        timeline = self._timeline
        head = await timeline.head(room.room_id)
        await timeline.heads.ensure(head, [CREATE, POWER_LEVELS])
        levels = power_levels(head.event(POWER_LEVELS), head.event(CREATE), room.version)
        async with timeline.writing.database.read() as conn:
            here = await self.servers.servers_in(conn, room.nid)
            senders = await oldest_senders(conn, room.nid, PAGE)
            names = await timeline.writing.state_keys.user_ids(conn, senders)
        authors = Counter(domain_of(names[nid]) for nid in senders if nid in names)
        powerful = [user for user, level in levels.users.items() if level >= POWERFUL]
        order = [*(name for name, _ in authors.most_common()), *map(domain_of, (*levels.creators, *powerful))]
        order += sorted(here)
        ours = timeline.identity.server_name
        return [name for name in dict.fromkeys(order) if name in here and name != ours][:MAX_SERVERS]

    def _rest(self, place: Place) -> None:
        self._resting[place] = self.clock() + self.limits.rest
        self._resting.move_to_end(place)
        while len(self._resting) > RESTING_ROOMS:
            self._resting.popitem(last=False)

    @property
    def _timeline(self) -> Timeline:
        return self.histories.arrivals.timeline
