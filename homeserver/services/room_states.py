"""States of forked rooms: after an event, and one state of several, told as differences and never built whole.

A state is a `StatePoint`: a place on the room's main line with an overlay of differences. Two points differ at most in
the keys that the main line changed between them and in the keys of their overlays; only those are looked at. What the
algorithm reads beyond that is loaded in rounds (see `core.state_resolution.inputs`): it is pure and started again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from attrs import define, field, frozen

from homeserver.core.auth.state import CREATE, JOIN_RULES, POWER_LEVELS
from homeserver.core.event import Event, StateKey
from homeserver.core.room_versions import StateResolution
from homeserver.core.state_resolution.chain_cover import (
    Band,
    Links,
    MissingPlaces,
    Place,
    auth_difference,
    conflicted_subgraph,
    reach,
    union,
)
from homeserver.core.state_resolution.inputs import Conflict, Known, Missing
from homeserver.core.state_resolution.resolve import resolve
from homeserver.services.placement import placement_of
from storage import auth_chains, room_state
from storage.database import Connection
from storage.events import EventReader, StoredEvent
from storage.room_batches import REJECTED
from storage.room_state import StatePoint
from storage.rooms import Room
from storage.state_keys import StateKeys

T = TypeVar("T")

NOTHING_UNWRITTEN: Mapping[int, StoredEvent] = {}
MAINLINE_STRETCH = 64
SPINE: tuple[StateKey, ...] = (CREATE, POWER_LEVELS, JOIN_RULES)


class IncompleteRoom(Exception):
    """Resolution needs events or places that are not stored: the room's graph has a hole that it must not have."""


def point_after(stored: StoredEvent, overlays: Mapping[int, StatePoint]) -> StatePoint:
    """The state after an event: the state before it, with the event if it is an accepted state event."""
    assert stored.state_sp is not None, "an outlier has no state"
    assert stored.line_sp is not None, "an outlier has no state"
    if stored.on_line:
        return StatePoint(stored.line_sp)
    before = StatePoint(stored.state_sp)
    if stored.overlay_nid is not None:
        before = overlays[stored.overlay_nid]
    if stored.key_nid is None or stored.status == REJECTED:
        return before
    return StatePoint(before.sp, {**before.overlay, stored.key_nid: stored.nid})


@frozen
class RoomStates:
    """Reads and resolves the states of rooms."""

    reader: EventReader
    state_keys: StateKeys

    async def points_after(self, conn: Connection, events: Sequence[StoredEvent]) -> list[StatePoint]:
        """The state after each of several events."""
        nids = {event.overlay_nid for event in events if event.overlay_nid is not None}
        overlays = await room_state.load_overlays(conn, nids) if nids else {}
        return [point_after(event, overlays) for event in events]

    async def resolved(
        self,
        conn: Connection,
        room: Room,
        points: Sequence[StatePoint],
        *,
        unwritten: Iterable[StoredEvent] = (),
    ) -> StatePoint:
        """One state of several. `unwritten` events may be part of the points without being stored yet."""
        distinct: list[StatePoint] = []
        for point in points:
            if point not in distinct:
                distinct.append(point)
        if len(distinct) == 1:
            return distinct[0]
        resolution = _Resolution(self, conn, room, distinct)
        resolution.take_unwritten(unwritten)
        return await resolution.run()

    async def differences(
        self, conn: Connection, room: Room, points: Sequence[StatePoint]
    ) -> dict[int, tuple[int | None, ...]]:
        """The keys that are not the same at all points, with their events at each."""
        low, high = min(p.sp for p in points), max(p.sp for p in points)
        keys = {key for point in points for key in point.overlay}
        if low < high:
            keys |= set(await room_state.changed_keys(conn, room.nid, low, high))
        if not keys:
            return {}
        states = [await room_state.at_point(conn, room.nid, point, keys) for point in points]
        values = {key: tuple(state.get(key) for state in states) for key in keys}
        return {key: nids for key, nids in values.items() if len(set(nids)) > 1}

    async def events_at(
        self,
        conn: Connection,
        room: Room,
        point: StatePoint,
        keys: Iterable[StateKey],
        unwritten: Mapping[int, StoredEvent] = NOTHING_UNWRITTEN,
    ) -> dict[StateKey, StoredEvent]:
        """The events of some keys at a point, whose differences may be events that are not stored yet."""
        key_nids = await self.state_keys.find(conn, keys)
        state = await room_state.at_point(conn, room.nid, point, key_nids.values())
        fresh = [unwritten[nid] for nid in state.values() if nid in unwritten]
        found = await self.reader.by_nids(conn, [nid for nid in state.values() if nid not in unwritten])
        return {event.event.key: event for event in (*found.values(), *fresh)}


@define
class _Resolution:
    """One resolution: what has been loaded for it so far."""

    states: RoomStates
    conn: Connection
    room: Room
    points: Sequence[StatePoint]
    stored: dict[str, StoredEvent] = field(factory=dict)
    unconflicted: dict[StateKey, str | None] = field(factory=dict)
    links: dict[Place, Links] = field(factory=dict)
    rows: dict[int, dict[int, Links]] = field(factory=dict)
    unwritten: dict[Place, Links] = field(factory=dict)

    def take_unwritten(self, events: Iterable[StoredEvent]) -> None:
        """Know events that no query finds yet."""
        for stored in events:
            self.stored[stored.event.event_id] = stored
            if (placement := placement_of(stored)) is not None:
                self.links[placement.place] = placement.links
                self.unwritten[placement.place] = placement.links

    async def run(self) -> StatePoint:
        differing = await self.states.differences(self.conn, self.room, self.points)
        base = max(self.points, key=lambda point: point.sp)
        if not differing:
            return base
        await self._load_nids({nid for nids in differing.values() for nid in nids if nid is not None})
        conflict = await self._conflict(differing)
        resolved = await self._restarting(lambda: resolve(conflict, self._known()))
        return await self._point(base, resolved)

    async def _conflict(self, differing: Mapping[int, tuple[int | None, ...]]) -> Conflict:
        names = await self.states.state_keys.names(self.conn, differing)
        ids = {stored.nid: event_id for event_id, stored in self.stored.items()}
        states = {
            names[key]: frozenset(None if nid is None else ids[nid] for nid in nids)
            for key, nids in differing.items()
        }
        version = self.room.version
        if version.state_resolution is StateResolution.V1:
            return Conflict(version, states)
        entries = [
            [self.stored[ids[nid]] for nids in differing.values() if (nid := nids[index]) is not None]
            for index in range(len(self.points))
        ]
        return Conflict(version, states, await self._difference(entries, set(differing)))

    async def _difference(self, entries: list[list[StoredEvent]], keys: set[int]) -> frozenset[str]:
        """The auth difference and, since v12, the conflicted subgraph [rooms/v12 "State resolution"]."""
        starts = [await self._standing_on(events) for events in entries]
        reaches = [await self._reach(places) for places in starts]
        conflicted = {stored.nid: stored for events in entries for stored in events}
        nids = await self._between(reaches, {})
        if not conflicted.keys() >= nids:
            nids = await self._between(reaches, await self._spine(nids, keys))
        if not conflicted.keys() >= nids:
            nids = await self._between(reaches, await self._common(keys))
        if self.room.version.state_resolution is StateResolution.V2_1:
            bands = await self._subgraph(conflicted.values(), union(reaches))
            nids |= set(await auth_chains.in_bands(self.conn, self.room.nid, bands))
        await self._load_nids(nids)
        return frozenset(event_id for event_id, stored in self.stored.items() if stored.nid in nids)

    async def _between(self, reaches: list[dict[int, int]], common: dict[int, int]) -> set[int]:
        """The events of the auth difference, given what the unconflicted state is known to reach."""
        bands = auth_difference(reaches, common)
        return set(await auth_chains.in_bands(self.conn, self.room.nid, bands))

    async def _spine(self, nids: set[int], keys: set[int]) -> dict[int, int]:
        """What the unconflicted rules of the room, and the unconflicted entries of the keys in question, reach.

        A lower bound of what the whole unconflicted state reaches, for a few look-ups; nearly always enough.
        """
        await self._load_nids(nids)
        wanted = {stored.event.key for stored in self.stored.values() if stored.nid in nids}
        found = await self.states.events_at(self.conn, self.room, self.points[0], {*wanted, *SPINE})
        return await self._reach(
            await self._standing_on(stored for stored in found.values() if stored.key_nid not in keys)
        )

    async def _standing_on(self, events: Iterable[StoredEvent]) -> list[Place]:
        """Places of the events, and for those without one the places of their auth events."""
        starts, unplaced = [], []
        for stored in events:
            placement = placement_of(stored)
            if placement is None:
                unplaced.append(stored)
            else:
                starts.append(placement.place)
                self.links[placement.place] = placement.links
        cited = {event_id for stored in unplaced for event_id in stored.event.auth_events}
        await self._load_ids(cited)
        for event_id in cited:
            placement = placement_of(self.stored[event_id]) if event_id in self.stored else None
            if placement is not None:
                starts.append(placement.place)
                self.links[placement.place] = placement.links
        return starts

    async def _common(self, keys: set[int]) -> dict[int, int]:
        """What the unconflicted part of the state reaches; walks all of it, and only for unusual forks."""
        places = await auth_chains.places_of_state(self.conn, self.room.nid, self.points[0], keys)
        return await self._reach(places)

    async def _reach(self, places: Sequence[Place]) -> dict[int, int]:
        return await self._restarting(lambda: reach(places, self.links))

    async def _subgraph(self, conflicted: Iterable[StoredEvent], below: dict[int, int]) -> list[Band]:
        places = [placement.place for stored in conflicted if (placement := placement_of(stored)) is not None]
        await self._load_places(frozenset(Place(*place) for place in below.items()))
        return await self._restarting(lambda: conflicted_subgraph(places, below, self.links, self.rows))

    async def _restarting(self, work: Callable[[], T]) -> T:
        """Run a pure function, loading what it misses, until it misses nothing."""
        while True:
            before = self._loaded()
            try:
                return work()
            except MissingPlaces as missing:
                await self._load_places(missing.places)
                await self._load_rows(missing.chains)
                cause: Exception = missing
            except Missing as missing:
                await self._load_ids(missing.event_ids)
                await self._load_keys(missing.keys)
                await self._load_mainline(missing.event_ids)
                cause = missing
            if self._loaded() == before:
                raise IncompleteRoom(f"{self.room.room_id}: {cause}") from cause

    def _loaded(self) -> int:
        return len(self.stored) + len(self.unconflicted) + len(self.links) + len(self.rows)

    def _known(self) -> Known:
        events: dict[str, Event] = {event_id: stored.event for event_id, stored in self.stored.items()}
        rejected = frozenset(i for i, stored in self.stored.items() if stored.status == REJECTED)
        return Known(events, self.unconflicted, rejected)

    async def _load_places(self, places: frozenset[Place]) -> None:
        absent = places - self.links.keys()
        if absent:
            self.links |= await auth_chains.links_of(self.conn, self.room.nid, absent)

    async def _load_mainline(self, event_ids: Iterable[str]) -> None:
        """Power levels cite the ones before them: load a stretch of their chain, not one a round."""
        loaded = [self.stored[event_id] for event_id in event_ids if event_id in self.stored]
        levels = [placement_of(stored) for stored in loaded if stored.event.type == POWER_LEVELS[0]]
        bands = [Band(p.place.chain, p.place.seq - MAINLINE_STRETCH, p.place.seq) for p in levels if p]
        if bands:
            await self._load_nids(set(await auth_chains.in_bands(self.conn, self.room.nid, bands)))

    async def _load_rows(self, chains: frozenset[Place]) -> None:
        if not chains:
            return
        self.rows |= await auth_chains.rows_of(self.conn, self.room.nid, chains)
        wanted = {place.chain for place in chains}
        for place, links in self.unwritten.items():
            if place.chain in wanted:
                self.rows.setdefault(place.chain, {})[place.seq] = links

    async def _load_nids(self, nids: set[int]) -> None:
        absent = nids - {stored.nid for stored in self.stored.values()}
        if absent:
            found = await self.states.reader.by_nids(self.conn, absent)
            self.stored |= {stored.event.event_id: stored for stored in found.values()}

    async def _load_ids(self, event_ids: Iterable[str]) -> None:
        absent = set(event_ids) - self.stored.keys()
        if absent:
            self.stored |= await self.states.reader.by_ids(self.conn, absent)

    async def _load_keys(self, keys: Iterable[StateKey]) -> None:
        """Unconflicted keys are the same at all points."""
        wanted = set(keys)
        if wanted:
            found = await self.states.events_at(self.conn, self.room, self.points[0], wanted)
            self.stored |= {stored.event.event_id: stored for stored in found.values()}
            for key in wanted:
                self.unconflicted[key] = found[key].event.event_id if key in found else None

    async def _point(self, base: StatePoint, resolved: Mapping[StateKey, str | None]) -> StatePoint:
        """`base` with the resolved keys, as few differences from the main line as there are."""
        await self._load_ids(event_id for event_id in resolved.values() if event_id is not None)
        key_nids = await self.states.state_keys.find(self.conn, resolved)
        line = await room_state.at(self.conn, self.room.nid, base.sp, key_nids.values())
        overlay = dict(base.overlay)
        for key, event_id in resolved.items():
            nid = None if event_id is None else self.stored[event_id].nid
            key_nid = key_nids[key]
            if line.get(key_nid) == nid:
                overlay.pop(key_nid, None)
            else:
                overlay[key_nid] = nid
        return StatePoint(base.sp, overlay)
