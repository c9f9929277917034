"""Lists of events by how they relate: children of an event, threads of a room [cs "Relationships API"]."""

from collections.abc import Sequence

from attrs import frozen

from homeserver.services.history import Page, PageRequest
from homeserver.services.room_access import RoomAccess, View
from homeserver.services.room_reading import RoomReading
from homeserver.services.unwanted import without_ignored
from storage import relations
from storage.database import Connection
from storage.events import EventReader, StoredEvent


@frozen
class Relating:
    """Which children are wanted; `recurse` also wants theirs."""

    event_id: str
    rel_type: str | None = None
    child_type: str | None = None
    recurse: bool = False


@frozen
class RelatedEvents:
    """Reads relations."""

    reader: EventReader
    access: RoomAccess
    reading: RoomReading

    async def children(
        self, conn: Connection, view: View, relating: Relating, wanted: PageRequest
    ) -> tuple[Page, int]:
        """A page of what relates to an event, and how deep it was looked for."""
        await self.reading.event_in(conn, view, relating.event_id)
        parents, depth = [relating.event_id], 1
        if relating.recurse:
            parents, depth = await relations.descendants(conn, relating.event_id)
        low, high = wanted.bounds(view)
        found = await relations.children(
            conn,
            self.reader,
            parents,
            low=low,
            high=high,
            newest_first=wanted.backwards,
            limit=wanted.limit + 1,
            rel_type=relating.rel_type,
            child_type=relating.child_type,
        )
        here = [stored for stored in found if stored.room.nid == view.room.nid]
        return await self._page(conn, view, here, wanted), depth

    async def threads(
        self, conn: Connection, view: View, wanted: PageRequest, *, participated: bool
    ) -> tuple[list[StoredEvent], int | None]:
        """Roots of the room's threads, the one with the latest reply first, and where the next page begins."""
        found = await relations.threads(
            conn,
            view.room.nid,
            high=wanted.bounds(view)[1],
            limit=wanted.limit + 1,
            participant=view.visitor.user_nid if participated else None,
        )
        roots = await self.reader.by_ids(conn, [event_id for event_id, _ in found[: wanted.limit]])
        listed = [roots[event_id] for event_id, _ in found[: wanted.limit] if event_id in roots]
        here = [stored for stored in listed if stored.room.nid == view.room.nid]
        more = found[wanted.limit][1] if len(found) > wanted.limit else None
        visible = await self.access.visible(conn, view, here)
        return await without_ignored(conn, view.visitor.user_nid, visible), more

    async def _page(
        self, conn: Connection, view: View, found: Sequence[StoredEvent], wanted: PageRequest
    ) -> Page:
        shown = found[: wanted.limit]
        visible = await self.access.visible(conn, view, shown)
        events = await without_ignored(conn, view.visitor.user_nid, visible)
        end = None
        if len(found) > len(shown) and shown:
            position = shown[-1].position or 0
            end = position - 1 if wanted.backwards else position
        return Page(events, wanted.start or 0, end)
