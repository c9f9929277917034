"""Client-Server API: pages of a room's timeline, the surroundings of an event, and the event of a time."""

from collections.abc import Sequence
from typing import Any

from attrs import evolve, frozen

from client_api.room_events import plain_forms
from client_api.visitor import event_filter, page_limit, place, visitor
from federation.deep_history import DeepHistory
from homeserver.core.tokens import page_token
from homeserver.services.aggregations import Aggregations
from homeserver.services.history import History, PageRequest
from homeserver.services.room_access import View, Visitor
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from storage.database import Connection, Database
from storage.events import StoredEvent

DEFAULT_LIMIT = 10


@frozen
class MessagePagination:
    """/messages, /context and /timestamp_to_event."""

    database: Database
    history: History
    aggregations: Aggregations
    max_limit: int
    deep: DeepHistory

    def endpoints(self) -> list[Endpoint]:
        guest = Auth.GUEST_OK
        return [
            Endpoint("GET", "/v3/rooms/{roomId}/messages", self.messages, auth=guest),
            Endpoint("GET", "/v3/rooms/{roomId}/context/{eventId}", self.context, auth=guest),
            Endpoint("GET", "/v1/rooms/{roomId}/timestamp_to_event", self.by_time),
        ]

    async def messages(self, call: Call) -> Result:
        wanted = self._request(call)
        reader = visitor(call)
        view = await self._reached(call.path["roomId"], reader, wanted)
        async with self.database.read() as conn:
            gap = await self.deep.before_gap(conn, view, wanted)
            if gap is not None:
                wanted = evolve(wanted, stop=gap)
            page = await self.history.page(conn, view, wanted)
            end = page.end if page.end is not None else gap
            if end is None and wanted.backwards and view.membership == "join":
                end = await self.deep.end(conn, view)
            if end is None and wanted.backwards and wanted.stop is None:
                end = _before(page.events)
            answer: dict[str, Any] = {
                "chunk": await self.aggregations.forms(conn, page.events, reader.audience),
                "start": page_token(page.start),
            }
            if wanted.filter.members.lazy and page.events:
                newest = page.events[0] if wanted.backwards else page.events[-1]
                answer["state"] = await self._members(conn, newest, page.events)
        if end is not None:
            answer["end"] = page_token(end)
        return answer

    async def context(self, call: Call) -> Result:
        kept = event_filter(call)
        reader = visitor(call)
        around = PageRequest(
            backwards=True, limit=page_limit(call, DEFAULT_LIMIT, self.max_limit), filter=kept
        )
        async with self.database.read() as conn:
            view = await self.history.access.view(conn, call.path["roomId"], reader)
            found = await self.history.context(conn, view, call.path["eventId"], around)
            told = [*found.before.events, found.event, *found.after.events]
            forms = await self.aggregations.forms(conn, told, reader.audience)
            if kept.members.lazy:
                state = await self._members(conn, found.newest, told)
            else:
                after = await self.history.reading.state_after(conn, found.newest)
                state = await plain_forms([stored for stored in after if kept.keeps(stored.event)])
        place_of_event = found.event.position or 0
        split = len(found.before.events)
        return {
            "event": forms[split],
            "events_before": forms[:split],
            "events_after": forms[split + 1 :],
            "state": state,
            "start": page_token(_or(found.before.end, found.before.start)),
            "end": page_token(_or(found.after.end, place_of_event)),
        }

    async def by_time(self, call: Call) -> Result:
        ts = call.query.integer("ts", least=0)
        forwards = call.query.choice("dir", ("f", "b")) == "f"
        async with self.database.read() as conn:
            view = await self.history.access.view(conn, call.path["roomId"], visitor(call))
        await self.deep.back_to(self.database, view, ts)
        async with self.database.read() as conn:
            stored = await self.history.nearest(conn, view, ts, forwards=forwards)
        return {"event_id": stored.event.event_id, "origin_server_ts": stored.event.origin_server_ts}

    async def _reached(self, room_id: str, reader: Visitor, wanted: PageRequest) -> View:
        """The room as the reader sees it, with as much history as can be had in time."""
        async with self.database.read() as conn:
            view = await self.history.access.view(conn, room_id, reader)
            shortage = await self.deep.shortage(conn, view, wanted)
        if shortage is not None:
            await self.deep.fetch(self.database, view, wanted, shortage)
        return view

    def _request(self, call: Call) -> PageRequest:
        kept = event_filter(call)
        limit = page_limit(call, DEFAULT_LIMIT, self.max_limit)
        return PageRequest(
            backwards=call.query.choice("dir", ("b", "f")) == "b",
            limit=limit if kept.limit is None else min(limit, kept.limit),
            start=place(call, "from"),
            stop=place(call, "to"),
            filter=kept,
        )

    async def _members(self, conn: Connection, newest: StoredEvent, told: list[StoredEvent]) -> list[Any]:
        """Who said what is told [cs "Lazy-loading room members"]."""
        senders = {stored.event.sender for stored in told}
        return list(await plain_forms(await self.history.reading.members_at(conn, newest, senders)))


def _or(place: int | None, other: int) -> int:
    return other if place is None else place


def _before(events: Sequence[StoredEvent]) -> int | None:
    """Where to look for what is older than a page.

    COMPAT(SyTest, clients that take a page without `end` for an empty one): only an empty page is the last.
    """
    oldest = events[-1].position if events else None
    return None if oldest is None else oldest - 1
