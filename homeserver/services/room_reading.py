"""The state of rooms and single events, as one visitor may see them [cs "Getting events for a room"]."""

from collections.abc import Callable, Iterable

from attrs import frozen

from homeserver.core.errors import forbidden, not_found
from homeserver.core.event import StateKey
from homeserver.core.room_founding import CREATE
from homeserver.services.room_access import NOT_IN_ROOM, RoomAccess, View, Visitor
from homeserver.services.room_states import point_after
from storage import current_events, directory, memberships, pages, room_state
from storage.database import Connection, Database
from storage.events import EventReader, StoredEvent
from storage.room_batches import MEMBERSHIPS
from storage.room_state import StatePoint
from storage.state_keys import StateKeys


@frozen
class RoomReading:
    """Reads state and events."""

    database: Database
    reader: EventReader
    state_keys: StateKeys
    access: RoomAccess

    async def state(self, room_id: str, visitor: Visitor) -> list[StoredEvent]:
        """The whole state: now, or as it was when the visitor left."""
        async with self.database.read() as conn:
            view = await self.access.view(conn, room_id, visitor)
            return await self._state(conn, view, view.until_sp)

    async def state_event(self, room_id: str, visitor: Visitor, key: StateKey) -> StoredEvent:
        """One entry of the state. Raises M_NOT_FOUND."""
        async with self.database.read() as conn:
            view = await self.access.view(conn, room_id, visitor)
            if view.until_sp is None:
                found = await current_events.of_keys(conn, self.reader, view.room.nid, [key])
            else:
                nids = await self.state_keys.find(conn, [key])
                at = await room_state.at(conn, view.room.nid, view.until_sp, nids.values())
                events = await self.reader.by_nids(conn, at.values())
                found = {stored.event.key: stored for stored in events.values()}
        if key not in found:
            raise not_found("There is no such state")
        return found[key]

    async def event(self, conn: Connection, room_id: str, visitor: Visitor, event_id: str) -> StoredEvent:
        """One event of the room. M_NOT_FOUND also for what the visitor must not see."""
        view = await self.access.view(conn, room_id, visitor)
        return await self.event_in(conn, view, event_id)

    async def event_in(self, conn: Connection, view: View, event_id: str) -> StoredEvent:
        """The same with a view at hand."""
        stored = await self.reader.by_id(conn, event_id)
        known = stored is not None and stored.room.nid == view.room.nid and stored.status == 0
        visible = await self.access.visible(conn, view, [stored]) if known and stored is not None else []
        if not visible:
            raise not_found("No such event")
        return visible[0]

    async def members(
        self, room_id: str, visitor: Visitor, *, at: int | None, wanted: Callable[[str], bool]
    ) -> list[StoredEvent]:
        """The member events with the `wanted` memberships, now or at a place in the timeline."""
        async with self.database.read() as conn:
            view = await self.access.view(conn, room_id, visitor)
            sp = await self._sp_at(conn, view, at)
            if sp is None:
                numbers = [number for name, number in MEMBERSHIPS.items() if wanted(name)]
                return await current_events.members(conn, self.reader, view.room.nid, numbers)
            state = await self._state(conn, view, sp)
        return [
            stored
            for stored in state
            if stored.event.type == "m.room.member" and wanted(stored.event.membership or "")
        ]

    async def joined_members(self, room_id: str, visitor: Visitor) -> list[StoredEvent]:
        """Who is in the room, for those who are."""
        async with self.database.read() as conn:
            view = await self.access.view(conn, room_id, visitor)
            if view.membership != "join":
                raise forbidden(NOT_IN_ROOM)
            return await current_events.members(conn, self.reader, view.room.nid, [MEMBERSHIPS["join"]])

    async def joined_rooms(self, visitor: Visitor) -> list[str]:
        """The ids of the visitor's rooms."""
        async with self.database.read() as conn:
            nids = await memberships.joined_rooms(conn, visitor.user_nid)
            return [room.room_id for room in (await self.reader.rooms.by_nids(conn, nids)).values()]

    async def aliases(self, room_id: str, visitor: Visitor) -> list[str]:
        """The room's aliases of ours, to who may read the room now."""
        async with self.database.read() as conn:
            view = await self.access.view(conn, room_id, visitor)
            if view.until is not None:
                raise forbidden(NOT_IN_ROOM)
            return await directory.aliases_of(conn, view.room.nid)

    async def members_at(
        self, conn: Connection, newest: StoredEvent, user_ids: Iterable[str]
    ) -> list[StoredEvent]:
        """Member events of some users in the state after an event: what lazy loading adds to a page."""
        keys = await self.state_keys.find(conn, [("m.room.member", user_id) for user_id in user_ids])
        point = await _after(conn, newest)
        if newest.event.type == CREATE[0] and newest.on_line:
            point = StatePoint(point.sp + 1)  # who creates a room enters it next
        at = await room_state.at_point(conn, newest.room.nid, point, keys.values())
        return list((await self.reader.by_nids(conn, at.values())).values())

    async def state_after(self, conn: Connection, event: StoredEvent) -> list[StoredEvent]:
        """The whole state after an event."""
        nids = await room_state.whole(conn, event.room.nid, await _after(conn, event))
        return _by_number((await self.reader.by_nids(conn, nids.values())).values())

    async def _state(self, conn: Connection, view: View, sp: int | None) -> list[StoredEvent]:
        if sp is None:
            return await current_events.whole(conn, self.reader, view.room.nid)
        nids = await room_state.whole(conn, view.room.nid, StatePoint(sp))
        return _by_number((await self.reader.by_nids(conn, nids.values())).values())

    async def _sp_at(self, conn: Connection, view: View, at: int | None) -> int | None:
        """Where the state stood at a position; None: now, also for a place before the room began."""
        found = await pages.sp_at(conn, view.room.nid, at) if at is not None else None
        known = [sp for sp in (found, view.until_sp) if sp is not None]
        return min(known) if known else None


def _by_number(events: Iterable[StoredEvent]) -> list[StoredEvent]:
    return sorted(events, key=lambda stored: stored.nid)


async def _after(conn: Connection, event: StoredEvent) -> StatePoint:
    nids = [event.overlay_nid] if event.overlay_nid is not None else []
    return point_after(event, await room_state.load_overlays(conn, nids) if nids else {})
