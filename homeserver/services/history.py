"""A room's timeline in pages, around an event, and by time [cs "Getting events for a room"]."""

from collections.abc import Sequence

from attrs import evolve, frozen

from homeserver.core.errors import not_found
from homeserver.core.filters import RelatedBy, RoomEventFilter
from homeserver.services.room_access import RoomAccess, View
from homeserver.services.room_reading import RoomReading
from homeserver.services.unwanted import without_ignored
from storage import pages, relations
from storage.database import Connection
from storage.events import EventReader, StoredEvent

EVERYTHING = RoomEventFilter()
MAX_SCANNED = 500  # events that one page looks at, whatever its filter wants
CANDIDATES = 50  # events near a time, of which the first visible one is wanted


@frozen(kw_only=True)
class PageRequest:
    """What is asked of the timeline: from a place, up to another one, in one direction, what a filter keeps."""

    backwards: bool
    limit: int
    start: int | None = None
    stop: int | None = None
    filter: RoomEventFilter = EVERYTHING

    @property
    def types(self) -> list[str] | None:
        """The only types that can be wanted, where the filter says it without patterns."""
        only = self.filter.events.types.only
        return sorted(only.exact) if only is not None and not only.globs else None

    @property
    def is_plain(self) -> bool:
        """Is all that the filter leaves out left out by `types`?"""
        types = self.filter.events.types
        untyped = evolve(self.filter, events=evolve(self.filter.events, types=EVERYTHING.events.types))
        return (
            untyped.keeps_everything and types.never is None and (types.only is None or not types.only.globs)
        )

    def bounds(self, view: View) -> tuple[int, int]:
        """The positions (low, high] that are asked for, up to where the visitor may look."""
        older, newer = (self.stop, self.start) if self.backwards else (self.start, self.stop)
        high = newer if newer is not None else pages.LAST
        if view.until_position is not None:
            high = min(high, view.until_position)
        return (older if older is not None else pages.FIRST), high


@frozen
class Page:
    """Visible events in the direction that was asked for. `end` is None where nothing more follows.

    `more`: there are further events already.
    """

    events: list[StoredEvent]
    start: int
    end: int | None
    more: bool = False


@frozen
class Context:
    """An event with what came before (newest first) and after it (oldest first)."""

    event: StoredEvent
    before: Page
    after: Page

    @property
    def newest(self) -> StoredEvent:
        """The last event that is shown."""
        return self.after.events[-1] if self.after.events else self.event


@frozen
class History:
    """Reads timelines."""

    reader: EventReader
    access: RoomAccess
    reading: RoomReading

    async def page(self, conn: Connection, view: View, wanted: PageRequest) -> Page:
        """The next events of the room that the visitor may see."""
        scanned = await self._scan(conn, view, wanted)
        matching, looked_at = _fill(await self._matching(conn, scanned, wanted), scanned, wanted)
        visible = await self.access.visible(conn, view, matching)
        events = await without_ignored(conn, view.visitor.user_nid, visible)
        start = wanted.start if wanted.start is not None else _place_before(scanned, wanted)
        # Forwards the timeline may still grow, so there is always a place to go on from.
        more = len(looked_at) < len(scanned)
        goes_on = more or not wanted.backwards
        return Page(
            events, start, _place_after(looked_at[-1], wanted) if goes_on and looked_at else None, more
        )

    async def context(self, conn: Connection, view: View, event_id: str, around: PageRequest) -> Context:
        """An event in its surroundings: half of the limit on each side."""
        event = await self.reading.event_in(conn, view, event_id)
        if event.position is None:
            raise not_found("No such event")
        half = around.limit // 2
        older = evolve(around, backwards=True, limit=half, start=event.position - 1)
        newer = evolve(around, backwards=False, limit=around.limit - half, start=event.position)
        return Context(event, await self.page(conn, view, older), await self.page(conn, view, newer))

    async def nearest(self, conn: Connection, view: View, ts: int, *, forwards: bool) -> StoredEvent:
        """The visible event that is next to a time [cs "Event by timestamp"]. Raises M_NOT_FOUND."""
        found = await pages.around_time(
            conn, self.reader, view.room.nid, ts, forwards=forwards, limit=CANDIDATES
        )
        visible = await self.access.visible(conn, view, found)
        if not visible:
            raise not_found("There is no event of that time")
        return visible[0]

    async def _matching(
        self, conn: Connection, scanned: Sequence[StoredEvent], wanted: PageRequest
    ) -> set[int]:
        """The numbers of those that the filter keeps."""
        kept = [stored for stored in scanned if wanted.filter.keeps(stored.event)]
        related_by = wanted.filter.related_by
        if kept and related_by != RelatedBy():
            by_id = {stored.event.event_id: stored.nid for stored in kept}
            parents = await relations.related(
                conn, by_id, rel_types=related_by.rel_types, senders=related_by.senders
            )
            return {by_id[parent] for parent in parents}
        return {stored.nid for stored in kept}

    async def _scan(self, conn: Connection, view: View, wanted: PageRequest) -> list[StoredEvent]:
        """The events that may be on the page and one more, which tells whether there is another page."""
        limit = 1 + (wanted.limit if wanted.is_plain else MAX_SCANNED)
        low, high = wanted.bounds(view)
        return await pages.between(
            conn,
            self.reader,
            view.room.nid,
            low=low,
            high=high,
            newest_first=wanted.backwards,
            limit=limit,
            types=wanted.types,
        )


def _fill(
    matching: set[int], scanned: Sequence[StoredEvent], wanted: PageRequest
) -> tuple[list[StoredEvent], Sequence[StoredEvent]]:
    """The page's events, and those that were looked at to fill it."""
    most = wanted.limit if wanted.is_plain else MAX_SCANNED
    page: list[StoredEvent] = []
    for index, stored in enumerate(scanned[:most] if wanted.limit else ()):
        if stored.nid in matching:
            page.append(stored)
        if len(page) >= wanted.limit:
            return page, scanned[: index + 1]
    return page, scanned[:most]


def _place_before(scanned: Sequence[StoredEvent], wanted: PageRequest) -> int:
    """Where a page that was asked for without a place begins."""
    if not scanned:
        return 0
    first = scanned[0].position or 0
    return first if wanted.backwards else first - 1


def _place_after(last: StoredEvent, wanted: PageRequest) -> int:
    position = last.position or 0
    return position - 1 if wanted.backwards else position
