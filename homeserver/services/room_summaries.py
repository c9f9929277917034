"""Summaries of many rooms at once, the public list, and who may know of which room [cs "Room summaries"]."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from attrs import frozen

from homeserver.core.errors import not_found
from homeserver.core.room_summary import SUMMARY_TYPES, RoomSummary
from homeserver.services.room_access import Visitor
from storage import current_events, directory, memberships
from storage.database import Connection, Database
from storage.events import EventReader
from storage.room_batches import MEMBERSHIP_NAMES, MEMBERSHIPS
from storage.rooms import Room, joined_counts

CHUNK = 200  # rooms that a search reads at once
MAX_SEARCHED = 5_000  # rooms that one request searches


@frozen
class Search:
    """What is looked for in the public list; None: anything. A room type of None is a room without one."""

    term: str | None = None
    room_types: frozenset[str | None] | None = None
    network: str | None = None  # the list of this instance of a third-party network instead of ours
    all_networks: bool = False  # ours and all of those

    @property
    def is_everything(self) -> bool:
        """Does it leave nothing out?"""
        return self.term is None and self.room_types is None

    def finds(self, summary: RoomSummary) -> bool:
        """Is the room wanted?"""
        if self.room_types is not None and summary.room_type not in self.room_types:
            return False
        return self.term is None or summary.mentions(self.term.lower())


@frozen
class Found:
    """A page of the public list: `next` is the place of the next page."""

    rooms: list[RoomSummary]
    total: int
    next: int | None


@frozen
class RoomSummaries:
    """Reads what describes rooms."""

    database: Database
    reader: EventReader

    async def of(self, conn: Connection, rooms: Iterable[Room]) -> dict[int, RoomSummary]:
        """room_nid -> summary, of rooms we are in."""
        by_nid = {room.nid: room for room in rooms}
        joined = await joined_counts(conn, by_nid)
        state = await current_events.of_rooms(conn, self.reader, joined, SUMMARY_TYPES)
        return {
            nid: RoomSummary(
                by_nid[nid].room_id,
                by_nid[nid].version,
                count,
                {kind: stored.event for kind, stored in state.get(nid, {}).items()},
            )
            for nid, count in joined.items()
        }

    async def public(self, search: Search, *, start: int, limit: int) -> Found:
        """Published rooms from a place of the list on, those with most members first."""
        async with self.database.read() as conn:
            listed = await _listed(conn, search)
            found: list[RoomSummary] = []
            place = start
            while place < min(len(listed), start + MAX_SEARCHED):
                size = limit - len(found) if search.is_everything else CHUNK
                chunk = await self._summaries(conn, listed[place : place + size])
                for summary in chunk:
                    place += 1
                    if summary is not None and search.finds(summary):
                        found.append(summary)
                    if len(found) == limit:
                        return Found(found, len(listed), place if place < len(listed) else None)
        return Found(found, len(listed), place if place < len(listed) else None)

    async def is_ours(self, room_id: str) -> bool:
        """Have we ever been in the room, so that we can tell of it?"""
        async with self.database.read() as conn:
            room = await self.reader.rooms.find(conn, room_id)
            return room is not None and bool(await joined_counts(conn, [room.nid]))

    async def summary(self, room_id: str, visitor: Visitor | None) -> dict[str, Any]:
        """One room's summary, to who may know of the room. Raises M_NOT_FOUND."""
        async with self.database.read() as conn:
            room = await self.reader.rooms.find(conn, room_id)
            found = await self.of(conn, [room]) if room is not None else {}
            open_to = await self.open_to(conn, found, visitor)
        if room is None or room.nid not in open_to:
            raise not_found("No such room")
        told = found[room.nid].full_form()
        membership = open_to[room.nid]
        return told if membership is None else {**told, "membership": membership}

    async def open_to(
        self, conn: Connection, summaries: dict[int, RoomSummary], visitor: Visitor | None
    ) -> dict[int, str | None]:
        """room_nid -> the visitor's membership, for those of the rooms that the visitor may know of."""
        if visitor is None:
            return {nid: None for nid, summary in summaries.items() if summary.is_open}
        local = {one.room_nid: one for one in await memberships.local_memberships(conn, visitor.user_nid)}
        joined = [nid for nid, one in local.items() if one.membership == MEMBERSHIPS["join"]]
        conditional = any(summary.allowed_rooms for summary in summaries.values())
        rooms = await self.reader.rooms.by_nids(conn, joined) if conditional else {}
        joined_rooms = {room.room_id for room in rooms.values()}
        names = {nid: MEMBERSHIP_NAMES[local[nid].membership] if nid in local else None for nid in summaries}
        return {
            nid: names[nid]
            for nid, summary in summaries.items()
            if summary.is_open_to(names[nid], joined_rooms)
        }

    async def _summaries(self, conn: Connection, nids: Sequence[int]) -> list[RoomSummary | None]:
        rooms: Collection[Room] = (await self.reader.rooms.by_nids(conn, nids)).values()
        found = await self.of(conn, rooms)
        return [found.get(nid) for nid in nids]


async def _listed(conn: Connection, search: Search) -> list[int]:
    """The rooms of the list that is asked for [cs "POST /publicRooms"]."""
    if search.all_networks:
        return await directory.published_anywhere(conn)
    if search.network is None:
        return await directory.published(conn)
    service_id, _, network_id = search.network.partition("|")
    return await directory.published_by(conn, service_id, network_id)
