"""Events that arrive before what they point at: what is missing is asked for, at bounded cost.

[ss "Backfilling and retrieving missing events"]
First the events between ours and the new ones. What then is still in front of a hole gets the state before it from the
server that sent it: the events of that state become outliers here, and the event is placed behind the hole. Nothing is
believed that the checks on receipt would not let pass: format, room, signatures, hashes, and the id that was asked
for. When a server cannot help another one of the room is asked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import structlog
from attrs import define, evolve, field, frozen

from federation.client.events import EventRequests
from federation.transport.requests import PeerFault, PeerRefused
from homeserver.core.dag import topological
from homeserver.core.ids import domain_of
from homeserver.core.receipt_checks import Dropped, Verdict
from homeserver.core.room_versions import RoomVersion
from homeserver.services.arrivals import Arrivals
from homeserver.services.judging import Arrival, Waiting
from homeserver.services.room_servers import RoomServers
from storage import event_graph, room_state
from storage.database import Database
from storage.rooms import Room

log = structlog.get_logger(__name__)

Check = Callable[[Sequence[Any], RoomVersion], Awaitable[Sequence[Arrival | Dropped]]]  # checks 1 to 3
Verdicts = dict[str, Verdict | Waiting]

ASKED_AT_ONCE = 8  # single events
KEPT_AT_ONCE = 500


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
        gap = _Gap(room, {arrival.event.event_id: arrival for arrival in arrivals})
        asked = list(gap.pool)
        try:
            async with asyncio.timeout(self.limits.seconds):
                for server in await self._helpers(room, origin, arrivals):
                    if await self._closed_by(server, gap):
                        break
        except TimeoutError:
            log.info("gap takes too long", room_id=room.room_id, origin=origin)
        nothing = Waiting(frozenset(), frozenset())
        return {event_id: gap.verdicts.get(event_id, nothing) for event_id in asked}

    async def _helpers(self, room: Room, origin: str, arrivals: Iterable[Arrival]) -> list[str]:
        """Whom to ask: the sender, the servers of the authors, then others in the room."""
        async with self._database.read() as conn:
            others = await self.servers.servers_in(conn, room.nid)
        authors = (domain_of(arrival.event.sender) for arrival in arrivals)
        ours = self.arrivals.timeline.identity.server_name
        order = [name for name in dict.fromkeys((origin, *authors, *sorted(others))) if name != ours]
        return order[: self.limits.servers]

    async def _closed_by(self, server: str, gap: _Gap) -> bool:
        try:
            await self._fetch_missing(server, gap)
            await self._judge(gap)
            await self._fetch_auth_events(server, gap)
            await self._place_the_rest(server, gap)
        except PeerFault as fault:
            log.info("gap not closed by", room_id=gap.room.room_id, server=server, reason=fault.reason)
            await self._judge(gap)
        return not gap.waiting

    # --- the events between ours and theirs

    async def _fetch_missing(self, server: str, gap: _Gap) -> None:
        """Walk from the new events towards ours until nothing is missing or nothing new comes."""
        head = await self.arrivals.timeline.head(gap.room.room_id)
        earliest = [event_id for _, event_id in head.extremities][: self.limits.page]
        for _ in range(self.limits.rounds):
            missing = await self._without_place(gap.room, gap.parents())
            room_left = self.limits.events - len(gap.pool)
            if not missing or room_left <= 0:
                return
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
                return
            found = await self._checked(gap.room, pdus[: self.limits.page])
            fitting = dict(list(_behind(missing, found).items())[:room_left])
            if not fitting:
                return
            gap.pool |= fitting

    async def _judge(self, gap: _Gap) -> None:
        gap.verdicts |= await self.arrivals.receive_all(gap.room.room_id, list(gap.pool.values()))

    # --- events that only authorize others

    async def _fetch_auth_events(self, server: str, gap: _Gap) -> None:
        """For events whose previous events are there but whose auth events are not."""
        for event_id, waiting in list(gap.waiting.items())[: self.limits.placements]:
            unknown = waiting.auth_events - gap.pool.keys()
            if not unknown:
                continue
            pdus = await self.events.event_auth(server, gap.room.room_id, event_id)
            await self._keep(gap.room, await self._new(gap.room, pdus))
            await self._judge(gap)

    # --- a hole that stays

    async def _place_the_rest(self, server: str, gap: _Gap) -> None:
        """What still has no previous events gets its state from elsewhere, the oldest first."""
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
            gap.verdicts[holes[0]] = await self._place(server, gap, gap.pool[holes[0]])
            await self._judge(gap)

    async def _place(self, server: str, gap: _Gap, arrival: Arrival) -> Verdict | Waiting:
        event = arrival.event
        told = await self.events.state_ids(server, gap.room.room_id, event.event_id)
        wanted = {*told.pdu_ids, *told.auth_chain_ids, *event.auth_events}
        if len(wanted) > self.limits.state:
            raise PeerFault(server, "the state is too large")
        unknown = await self._unknown(gap.room, wanted)
        if len(unknown) <= self.limits.singles:
            found = await self._singly(server, gap.room, unknown)
        elif unknown:
            whole = await self.events.state(server, gap.room.room_id, event.event_id)
            found = await self._new(gap.room, [*whole.pdus, *whole.auth_chain])
        else:
            found = []
        await self._keep(gap.room, found)
        async with self._database.read() as conn:
            # What could not be had is left out of the state: the rules judge by what is there.
            state = {one.event_id for one in await room_state.entries_of(conn, gap.room.nid, told.pdu_ids)}
        log.info(
            "event placed behind a gap",
            room_id=gap.room.room_id,
            event_id=event.event_id,
            server=server,
            state=len(state),
            fetched=len(found),
            lost=len(set(told.pdu_ids) - state),
        )
        return await self.arrivals.place(arrival, state)

    async def _singly(self, server: str, room: Room, event_ids: Collection[str]) -> list[Arrival]:
        """Events one by one; what is not the one that was asked for is nothing."""
        turn = asyncio.Semaphore(ASKED_AT_ONCE)

        async def ask(event_id: str) -> Mapping[str, Any] | None:
            async with turn:
                return await self.events.event(server, event_id)

        answers = await asyncio.gather(*map(ask, event_ids))
        found = await self._checked(room, [pdu for pdu in answers if pdu is not None])
        return [arrival for event_id, arrival in found.items() if event_id in event_ids]

    async def _new(self, room: Room, pdus: Sequence[Mapping[str, Any]]) -> list[Arrival]:
        if len(pdus) > self.limits.state:
            raise PeerFault(room.room_id, "too many events")
        found = await self._checked(room, pdus)
        unknown = await self._unknown(room, found)
        return [arrival for event_id, arrival in found.items() if event_id in unknown]

    async def _keep(self, room: Room, found: Sequence[Arrival]) -> None:
        """Store outliers, a part at a time: whoever sends into the room meanwhile need not wait for all."""
        by_id = {arrival.event.event_id: arrival for arrival in found}
        ordered = topological(arrival.event for arrival in found).order
        for start in range(0, len(ordered), KEPT_AT_ONCE):
            part = [by_id[event.event_id] for event in ordered[start : start + KEPT_AT_ONCE]]
            await self.arrivals.keep(room.room_id, part)

    # --- what is believed, what is known

    async def _checked(self, room: Room, pdus: Sequence[Mapping[str, Any]]) -> dict[str, Arrival]:
        """Checks 1 to 3; an event of another room is none of this one."""
        found: dict[str, Arrival] = {}
        for checked in await self.check(pdus, room.version):
            if isinstance(checked, Dropped):
                log.info(
                    "fetched PDU dropped", room_id=room.room_id, check=checked.check, reason=checked.reason
                )
            elif checked.event.room_id == room.room_id:
                found[checked.event.event_id] = evolve(checked, relay=False)
        return found

    async def _unknown(self, room: Room, event_ids: Collection[str]) -> set[str]:
        async with self._database.read() as conn:
            return set(event_ids) - await event_graph.known_of(conn, room.nid, event_ids)

    async def _without_place(self, room: Room, event_ids: Collection[str]) -> set[str]:
        async with self._database.read() as conn:
            return set(event_ids) - (await event_graph.numbers_of(conn, room.nid, event_ids)).keys()

    @property
    def _database(self) -> Database:
        return self.arrivals.timeline.writing.database


def _behind(missing: Collection[str], found: Mapping[str, Arrival]) -> dict[str, Arrival]:
    """Those of the events found that are missing, and what these point at, and so on; nothing else was asked for."""
    fitting: dict[str, Arrival] = {}
    frontier = [event_id for event_id in missing if event_id in found]
    while frontier:
        event_id = frontier.pop()
        if event_id not in fitting:
            fitting[event_id] = found[event_id]
            frontier += [parent for parent in found[event_id].event.prev_events if parent in found]
    return fitting
