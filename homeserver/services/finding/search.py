"""Finds messages, names and topics in the rooms that a user is or was in [cs "Server Side Search"]."""

from collections.abc import Collection, Mapping, Sequence

from attrs import evolve, field, frozen

from homeserver.core.filters import RoomEventFilter, Selection
from homeserver.core.search_words import Query, query
from homeserver.services.finding.documents import searched_text
from homeserver.services.follower import Follower
from homeserver.services.room_access import RoomAccess, View, Visitor
from homeserver.services.unwanted import without_ignored
from storage import search as rows
from storage.database import Connection
from storage.events import EventReader, StoredEvent
from storage.memberships import local_memberships
from storage.room_batches import MEMBERSHIPS
from storage.rooms import Room
from storage.search import BODY, NAME, TOPIC, Hit, Search, room_mark

PARTS = {"content.body": BODY, "content.name": NAME, "content.topic": TOPIC}
MAX_MARKED_ROOMS = 300  # with more rooms than that, the index is not asked for rooms
ROUNDS = (
    5  # of candidates that one page looks at, each twice as many: nearly always all of the first may be seen
)
SETTLE = 1.0  # seconds that a search waits for what has just been said
_JOIN, _LEAVE, _BAN = MEMBERSHIPS["join"], MEMBERSHIPS["leave"], MEMBERSHIPS["ban"]


@frozen(kw_only=True)
class Wanted:
    """What somebody searches for. `after`: the last result that they have."""

    term: str
    parts: Collection[int] = (BODY, NAME, TOPIC)
    filter: RoomEventFilter = field(factory=RoomEventFilter)
    recent: bool = False
    limit: int = 10
    after: tuple[float, int] | None = None


@frozen
class Result:
    """An event, how good a match it is, the room as the searcher sees it, and the searcher's membership then."""

    event: StoredEvent
    rank: float
    view: View
    membership: str


@frozen
class Found:
    """A page of results. `after`: where the next one begins, if there may be one."""

    results: Sequence[Result] = ()
    count: int = 0
    highlights: Collection[str] = ()
    after: tuple[float, int] | None = None


@frozen
class MessageSearch:
    """Searches, in what its follower has made findable."""

    reader: EventReader
    access: RoomAccess
    follower: Follower

    async def find(self, conn: Connection, visitor: Visitor, wanted: Wanted) -> Found:
        """A page of results that the visitor may see."""
        asked = query(wanted.term)
        if asked is None or wanted.limit < 1:
            return Found()
        views = await self._views(conn, visitor, wanted.filter)
        if not views:
            return Found()
        marks = [room_mark(nid) for nid in views] if len(views) <= MAX_MARKED_ROOMS else []
        search = Search(
            query=asked.as_tsquery(marks),
            room_nids=list(views),
            parts=wanted.parts,
            recent=wanted.recent,
        )
        results, after, count = await self._page(conn, search, views, wanted)
        return Found(results, count, _highlights(asked, results), after)

    async def _page(
        self, conn: Connection, search: Search, views: Mapping[int, View], wanted: Wanted
    ) -> tuple[list[Result], tuple[float, int] | None, int]:
        """Results until there are enough; candidates may turn out not to be for the visitor's eyes."""
        results: list[Result] = []
        after, size, count = wanted.after, wanted.limit + 1, 0
        for _ in range(ROUNDS):
            candidates, count = await rows.hits(conn, self.reader, search, after, size)
            for hit, result in await self._visible(conn, candidates, views, wanted.filter):
                results.append(result)
                if len(results) == wanted.limit:
                    last = hit.event_nid == candidates[-1].event_nid and len(candidates) < size
                    return results, None if last else _key(hit, search), count
            if len(candidates) < size:
                return results, None, count
            after = _key(candidates[-1], search)
            size *= 2
        return results, after, count

    async def _visible(
        self, conn: Connection, hits: Sequence[Hit], views: Mapping[int, View], kept: RoomEventFilter
    ) -> list[tuple[Hit, Result]]:
        together: dict[int, list[StoredEvent]] = {}  # the rooms that the visitor is in; of others, each alone
        for stored in (hit.event for hit in hits if hit.event is not None):
            if _has_text(stored) and kept.keeps(stored.event):
                place = 0 if views[stored.room.nid].membership == "join" else stored.room.nid
                together.setdefault(place, []).append(stored)
        seen: dict[int, tuple[View, str]] = {}
        for place, listed in together.items():
            view = await self._entered(conn, views[listed[0].room.nid])
            if view is None:
                continue
            shown = await self.access.seen(conn, view, listed)
            for stored in await without_ignored(conn, view.visitor.user_nid, shown.events):
                seen[stored.nid] = (view if place else views[stored.room.nid], shown.memberships[stored.nid])
        return [
            (hit, Result(hit.event, hit.rank, *seen[hit.event_nid]))
            for hit in hits
            if hit.event is not None and hit.event_nid in seen
        ]

    async def _entered(self, conn: Connection, view: View) -> View | None:
        """The room as somebody sees it who may have left it."""
        if view.membership == "join":
            return view
        return await self.access.former(conn, view.room, view.visitor, view.membership)

    async def _views(self, conn: Connection, visitor: Visitor, kept: RoomEventFilter) -> dict[int, View]:
        """The rooms that are searched: where the visitor is or was, and what the filter leaves of them."""
        found = await local_memberships(conn, visitor.user_nid, memberships=[_JOIN, _LEAVE, _BAN])
        listed = [one for one in found if not one.forgotten]
        rooms: dict[int, Room] = await self.reader.rooms.by_nids(conn, [one.room_nid for one in listed])
        return {
            one.room_nid: View(rooms[one.room_nid], visitor, "join" if one.membership == _JOIN else "leave")
            for one in listed
            if one.room_nid in rooms and kept.rooms.keeps(rooms[one.room_nid].room_id)
        }


def in_group(wanted: Wanted, key: str, value: str) -> Wanted:
    """The same in one group only: a room's results, or a sender's."""
    kept = wanted.filter
    if key == "sender":
        events = evolve(kept.events, senders=_only(kept.events.senders, value))
        return evolve(wanted, filter=evolve(kept, events=events))
    return evolve(wanted, filter=evolve(kept, rooms=_only(kept.rooms, value)))


def _has_text(stored: StoredEvent) -> bool:
    """Is there still something to find? It may have been redacted, or its time may be over, since it was taken."""
    return stored.redacted_by is None and searched_text(stored.event.type, stored.event.content) != ""


def _only(selection: Selection, name: str) -> Selection:
    return Selection(frozenset({name} if selection.keeps(name) else ()), selection.never)


def _key(hit: Hit, search: Search) -> tuple[float, int]:
    return (float(hit.ts) if search.recent else hit.rank, hit.event_nid)


def _highlights(asked: Query, results: Sequence[Result]) -> list[str]:
    words: set[str] = set()
    for result in results:
        event = result.event.event
        words |= asked.found_in(searched_text(event.type, event.content))
    return sorted(words)
