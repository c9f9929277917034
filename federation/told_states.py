"""What another server tells of a room that we lack: single events, what authorizes them, the state before an event.

Nothing is believed that the checks on receipt would not let pass: format, room, signatures, hashes, and the id that
was asked for. What holds is kept as outliers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import structlog
from attrs import evolve, frozen

from federation.client.events import EventRequests, StateIds
from federation.transport.requests import PeerFault, PeerRefused
from homeserver.core.auth.state import CREATE
from homeserver.core.dag import topological
from homeserver.core.event import Event
from homeserver.core.receipt_checks import Dropped
from homeserver.core.room_versions import RoomVersion
from homeserver.services.arrivals import Arrivals
from homeserver.services.judging import Arrival
from storage import event_graph, room_state
from storage.database import Database
from storage.room_batches import REJECTED
from storage.room_state import StateEntry
from storage.rooms import Room

log = structlog.get_logger(__name__)

Check = Callable[[Sequence[Any], RoomVersion], Awaitable[Sequence[Arrival | Dropped]]]  # checks 1 to 3

ASKED_AT_ONCE = 8  # single events
KEPT_AT_ONCE = 500
NOT_FOUND = 404


@frozen
class StateLimits:
    """What one state may cost."""

    singles: int = 40  # events of a state asked for one by one; if more are unknown: the whole state
    entries: int = 200_000  # with what authorizes them


@frozen
class _Told:
    """The state before `at`, and what follows it up to the event that we want the state before."""

    at: str
    ids: StateIds
    following: tuple[str, ...] = ()

    def state(self, entries: Sequence[StateEntry]) -> set[str]:
        """The state of those entries that we know."""
        later = {
            one.key_nid: one for one in entries if one.event_id in self.following and one.status != REJECTED
        }
        before = {one.key_nid: one for one in entries if one.event_id not in self.following}
        return {one.event_id for one in {**before, **later}.values()}


@frozen
class ToldStates:
    """Asks for states, and keeps their events."""

    events: EventRequests
    check: Check
    arrivals: Arrivals
    limits: StateLimits = StateLimits()

    async def before(self, server: str, room: Room, event: Event, *, also_before: bool = True) -> set[str]:
        """The state before an event as the server tells it: events that we know now. Raises PeerFault.

        `also_before`: where it does not, what it tells of the event in front of it will do.
        """
        told = await self._told(server, room, event, also_before=also_before)
        wanted = {*told.ids.pdu_ids, *told.ids.auth_chain_ids, *told.following, *event.auth_events}
        if len(wanted) > self.limits.entries:
            raise PeerFault(server, "the state is too large")
        unknown = await self.unknown(room, wanted)
        if len(unknown) <= self.limits.singles:
            found = await self._singly(server, room, unknown)
        elif unknown:
            whole = await self.events.state(server, room.room_id, told.at)
            found = await self._new(room, [*whole.pdus, *whole.auth_chain])
            found += await self._singly(server, room, unknown.intersection(told.following))
        else:
            found = []
        await self._keep(room, found)
        async with self._database.read() as conn:
            # What could not be had is left out of the state: the rules judge by what is there.
            entries = await room_state.entries_of(conn, room.nid, [*told.ids.pdu_ids, *told.following])
        state = told.state(entries)
        if await self._create_event(room) not in state:
            raise PeerFault(server, "told a state without the room's create event")
        log.info(
            "state was told",
            room_id=room.room_id,
            event_id=event.event_id,
            server=server,
            state=len(state),
            fetched=len(found),
            lost=len(set(told.ids.pdu_ids) - state),
        )
        return state

    async def _told(self, server: str, room: Room, event: Event, *, also_before: bool) -> "_Told":
        """What the server says of the state before an event.

        A server that does not tell it (its own rules have refused the event, say) may tell of the one before.
        """
        try:
            return _Told(event.event_id, await self.events.state_ids(server, room.room_id, event.event_id))
        except PeerRefused as refused:
            unplaced = await self.without_place(room, event.prev_events)
            if not also_before or refused.status != NOT_FOUND or len(unplaced) != 1:
                raise
            (previous,) = unplaced  # what the others before it say, the room's state says, too
        ids = await self.events.state_ids(server, room.room_id, previous)
        return _Told(previous, ids, following=(previous,))

    async def authorizing(self, server: str, room: Room, event_id: str) -> None:
        """All that authorizes an event is asked for and kept. Raises PeerFault."""
        pdus = await self.events.event_auth(server, room.room_id, event_id)
        await self._keep(room, await self._new(room, pdus))

    async def checked(self, room: Room, pdus: Sequence[Mapping[str, Any]]) -> dict[str, Arrival]:
        """Checks 1 to 3; an event of another room is none of this one."""
        found: dict[str, Arrival] = {}
        for checked in await self.check(pdus, room.version):
            if isinstance(checked, Arrival) and checked.event.room_id == room.room_id:
                found[checked.event.event_id] = evolve(checked, relay=False)
        return found

    async def unknown(self, room: Room, event_ids: Collection[str]) -> set[str]:
        """Those of the events that we do not even have as outliers."""
        async with self._database.read() as conn:
            return set(event_ids) - await event_graph.known_of(conn, room.nid, event_ids)

    async def without_place(self, room: Room, event_ids: Collection[str]) -> set[str]:
        """Those of the events that have no place in our graph of the room."""
        async with self._database.read() as conn:
            return set(event_ids) - (await event_graph.numbers_of(conn, room.nid, event_ids)).keys()

    async def _create_event(self, room: Room) -> str | None:
        timeline = self.arrivals.timeline
        head = await timeline.head(room.room_id)
        await timeline.heads.ensure(head, [CREATE])
        create = head.event(CREATE)
        return None if create is None else create.event_id

    async def _singly(self, server: str, room: Room, event_ids: Collection[str]) -> list[Arrival]:
        """Events one by one; what is not the one that was asked for is nothing."""
        turn = asyncio.Semaphore(ASKED_AT_ONCE)

        async def ask(event_id: str) -> Mapping[str, Any] | None:
            async with turn:
                return await self.events.event(server, event_id)

        answers = await asyncio.gather(*map(ask, event_ids))
        found = await self.checked(room, [pdu for pdu in answers if pdu is not None])
        return [arrival for event_id, arrival in found.items() if event_id in event_ids]

    async def _new(self, room: Room, pdus: Sequence[Mapping[str, Any]]) -> list[Arrival]:
        if len(pdus) > self.limits.entries:
            raise PeerFault(room.room_id, "too many events")
        found = await self.checked(room, pdus)
        unknown = await self.unknown(room, found)
        return [arrival for event_id, arrival in found.items() if event_id in unknown]

    async def _keep(self, room: Room, found: Sequence[Arrival]) -> None:
        """Store outliers, a part at a time: whoever sends into the room meanwhile need not wait for all."""
        by_id = {arrival.event.event_id: arrival for arrival in found}
        ordered = topological(arrival.event for arrival in found).order
        for start in range(0, len(ordered), KEPT_AT_ONCE):
            part = [by_id[event.event_id] for event in ordered[start : start + KEPT_AT_ONCE]]
            await self.arrivals.keep(room.room_id, part)

    @property
    def _database(self) -> Database:
        return self.arrivals.timeline.writing.database


def reached_from(missing: Collection[str], found: Mapping[str, Arrival]) -> dict[str, Arrival]:
    """Those of the events found that are missing, and what these point at, and so on; nothing else was asked for."""
    fitting: dict[str, Arrival] = {}
    frontier = [event_id for event_id in missing if event_id in found]
    while frontier:
        event_id = frontier.pop()
        if event_id not in fitting:
            fitting[event_id] = found[event_id]
            frontier += [parent for parent in found[event_id].event.prev_events if parent in found]
    return fitting
