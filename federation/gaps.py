"""Events that arrive before what they point at: what is missing is asked for, at bounded cost.

[ss "Backfilling and retrieving missing events"]
First the events between ours and the new ones. What then is still in front of a hole gets the state before it from the
server that sent it: the events of that state become outliers here, and the event is placed behind the hole. Nothing is
believed that the checks on receipt would not let pass: format, room, signatures, hashes, and the id that was asked
for. When a server cannot help another one of the room is asked.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence

import structlog
from attrs import define, field, frozen

from federation.client.events import EventRequests
from federation.told_states import Check, StateLimits, ToldStates, reached_from
from federation.transport.requests import PeerFault, PeerRefused
from homeserver.core.ids import domain_of
from homeserver.core.receipt_checks import Verdict
from homeserver.services.arrivals import Arrivals
from homeserver.services.judging import Arrival, Waiting
from homeserver.services.room_servers import RoomServers
from storage.database import Database
from storage.rooms import Room

log = structlog.get_logger(__name__)

MOST_AUTHORS = 2

Verdicts = dict[str, Verdict | Waiting]


@frozen
class GapLimits:
    """What closing one gap may cost."""

    seconds: float = 120.0
    servers: int = 4
    rounds: int = 40  # of asking for missing events
    page: int = 20  # events a round: no server gives more
    events: int = 1_000  # and no more than this held in memory
    placements: int = 10  # events in front of which a hole stays
    singles: int = 40  # events of a state asked for one by one; if more are unknown: the whole state
    state: int = 200_000  # entries of a state, with what authorizes it


@define(eq=False)
class _Gap:
    """What is to be judged, with what was fetched for it."""

    room: Room
    sent: frozenset[str]
    pool: dict[str, Arrival]
    verdicts: Verdicts = field(factory=dict)

    @property
    def waiting(self) -> dict[str, Waiting]:
        """What cannot be judged yet, oldest first."""
        found = {name: one for name, one in self.verdicts.items() if isinstance(one, Waiting)}
        return dict(sorted(found.items(), key=lambda item: self.pool[item[0]].event.depth))

    def parents(self) -> set[str]:
        """What the pool points at outside of it."""
        return {
            parent for arrival in self.pool.values() for parent in arrival.event.prev_events
        } - self.pool.keys()

    def pointing_at(self, missing: set[str]) -> list[str]:
        """The events of the pool that stand right behind the hole."""
        return [
            event_id
            for event_id, arrival in self.pool.items()
            if not missing.isdisjoint(arrival.event.prev_events)
        ]


@frozen
class Gaps:
    """Asks other servers for what is missing in front of their events."""

    events: EventRequests
    check: Check
    arrivals: Arrivals
    servers: RoomServers
    limits: GapLimits = GapLimits()

    async def close(self, room: Room, origin: str, arrivals: Sequence[Arrival]) -> Verdicts:
        """Judge events of a room that `origin` sent, after fetching what they need. Waiting: it could not be had."""
        pool = {arrival.event.event_id: arrival for arrival in arrivals}
        gap = _Gap(room, frozenset(pool), pool)
        try:
            async with asyncio.timeout(self.limits.seconds):
                for server in await self._helpers(room, origin, arrivals):
                    if await self._closed_by(server, gap):
                        break
        except TimeoutError:
            log.info("gap takes too long", room_id=room.room_id, origin=origin)
        if gap.waiting:
            await self._judge(gap)  # others may have sent meanwhile what nobody could tell
        nothing = Waiting(frozenset(), frozenset())
        return {event_id: gap.verdicts.get(event_id, nothing) for event_id in gap.sent}

    async def _helpers(self, room: Room, origin: str, arrivals: Iterable[Arrival]) -> list[str]:
        """Whom to ask: the authors' servers, who would only harm themselves; who sent it; others in the room."""
        async with self._database.read() as conn:
            others = await self.servers.servers_in(conn, room.nid)
        authors = dict.fromkeys(domain_of(arrival.event.sender) for arrival in arrivals)
        ours = self.arrivals.timeline.identity.server_name
        first = [*list(authors)[:MOST_AUTHORS], origin]
        order = [name for name in dict.fromkeys((*first, *sorted(others))) if name != ours]
        return order[: self.limits.servers]

    async def _closed_by(self, server: str, gap: _Gap) -> bool:
        try:
            withheld = await self._fetch_missing(server, gap)
            await self._judge(gap)
            await self._fetch_auth_events(server, gap)
            await self._place_the_rest(server, gap, withheld)
        except PeerFault as fault:
            log.info("gap not closed by", room_id=gap.room.room_id, server=server, reason=fault.reason)
            await self._judge(gap)
        return not gap.waiting

    # --- the events between ours and theirs

    async def _fetch_missing(self, server: str, gap: _Gap) -> set[str]:
        """Walk from the new events towards ours until nothing is missing or nothing new comes.

        Gives those that were sent to us of which the server then says that nothing is missing.
        """
        head = await self.arrivals.timeline.head(gap.room.room_id)
        earliest = [event_id for _, event_id in head.extremities][: self.limits.page]
        for _ in range(self.limits.rounds):
            missing = await self._told.without_place(gap.room, gap.parents())
            room_left = self.limits.events - len(gap.pool)
            if not missing or room_left <= 0:
                return set()
            try:
                pdus = await self.events.missing_events(
                    server,
                    gap.room.room_id,
                    earliest=earliest,
                    latest=gap.pointing_at(missing)[: self.limits.page],
                    limit=self.limits.page,
                )
            except PeerRefused as refused:
                log.info("no missing events", server=server, reason=refused.reason)
                return set()
            found = await self._told.checked(gap.room, pdus[: self.limits.page])
            # What we have ends the walk: behind it may lie what was before we joined.
            unplaced = await self._told.without_place(gap.room, found)
            found = {event_id: arrival for event_id, arrival in found.items() if event_id in unplaced}
            fitting = dict(list(reached_from(missing, found).items())[:room_left])
            if not fitting:
                return set(gap.sent.intersection(gap.pointing_at(missing)))
            gap.pool |= fitting
        return set()

    async def _judge(self, gap: _Gap) -> None:
        gap.verdicts |= await self.arrivals.receive_all(gap.room.room_id, list(gap.pool.values()))

    # --- events that only authorize others

    async def _fetch_auth_events(self, server: str, gap: _Gap) -> None:
        """For events whose previous events are there but whose auth events are not."""
        for event_id, waiting in list(gap.waiting.items())[: self.limits.placements]:
            unknown = waiting.auth_events - gap.pool.keys()
            if not unknown:
                continue
            try:
                await self._told.authorizing(server, gap.room, event_id)
            except PeerRefused as refused:  # the state before it may tell the same
                log.info("not told what authorizes", server=server, reason=refused.reason)
                return
            await self._judge(gap)

    # --- a hole that stays

    async def _place_the_rest(self, server: str, gap: _Gap, withheld: Collection[str]) -> None:
        """What still has no previous events gets its state from elsewhere, the oldest first.

        Who sends an event and keeps back what it follows is asked for the state before the event, and for no other.
        """
        tried: set[str] = set()
        for _ in range(self.limits.placements):
            holes = [
                event_id
                for event_id, waiting in gap.waiting.items()
                if event_id not in tried and waiting.prev_events - gap.waiting.keys()
            ]
            if not holes:
                return
            tried.add(holes[0])
            arrival = gap.pool[holes[0]]
            state = await self._told.before(
                server, gap.room, arrival.event, also_before=holes[0] not in withheld
            )
            gap.verdicts[holes[0]] = await self._place(gap, arrival, state)
            await self._judge(gap)

    async def _place(self, gap: _Gap, arrival: Arrival, state: set[str]) -> Verdict | Waiting:
        log.info("event placed behind a gap", room_id=gap.room.room_id, event_id=arrival.event.event_id)
        return await self.arrivals.place(arrival, state)

    @property
    def _told(self) -> ToldStates:
        limits = StateLimits(self.limits.singles, self.limits.state)
        return ToldStates(self.events, self.check, self.arrivals, limits)

    @property
    def _database(self) -> Database:
        return self.arrivals.timeline.writing.database
