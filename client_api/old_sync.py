"""Client-Server API, the deprecated way of syncing: /initialSync, /events and one event by its id.

What they tell is taken from a sync of today; only its form is another one. Messages to devices are left to /sync.
"""

import asyncio
from typing import Any

import orjson
from attrs import evolve, frozen

from client_api.room_events import plain_forms
from client_api.visitor import visitor
from homeserver.core.errors import MatrixError, not_found
from homeserver.core.filters import parse_sync_filter
from homeserver.core.sync_view import view_of
from homeserver.core.tokens import SyncToken, page_token, parse_page_token
from homeserver.services.aggregations import Aggregations
from homeserver.services.history import History, PageRequest
from homeserver.services.presence import Presences
from homeserver.services.room_access import Visitor
from homeserver.services.sync import Sync
from homeserver.services.sync_request import Style, SyncRequest
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from storage import directory
from storage.database import Database
from storage.memberships import INVITE, local_memberships

MESSAGES, MAX_MESSAGES = 10, 100  # of each room
MAX_EVENTS = 1_000  # of one answer of /events in each room
PEEK_EVERY = 1.0  # seconds; nobody is woken for rooms that they are not in
_AFTER = Style("state_after")


@frozen
class OldSync:
    """Forms of long ago."""

    sync: Sync
    presences: Presences
    database: Database
    history: History
    aggregations: Aggregations
    longest: float  # seconds

    def endpoints(self) -> list[Endpoint]:
        guest = Auth.GUEST_OK
        return [
            Endpoint("GET", "/v3/initialSync", self.initial, rate="other"),
            Endpoint("GET", "/v3/events", self.events, auth=guest, long_poll=True),
            Endpoint("GET", "/v3/events/{eventId}", self.event, auth=guest),
        ]

    async def initial(self, call: Call) -> Result:
        limit = min(call.query.integer("limit", MESSAGES, least=0), MAX_MESSAGES)
        archived = call.query.boolean("archived", False)
        wanted = {"room": {"timeline": {"limit": limit}, "include_leave": archived}}
        request = evolve(await self._request(call, wanted), style=_AFTER)
        told = orjson.loads(await self.sync.sync(request, 0))
        end, rooms = told["next_batch"], told.get("rooms", {})
        listed = [_room(room_id, room, "join", end) for room_id, room in rooms.get("join", {}).items()]
        listed += [_room(room_id, room, "leave", end) for room_id, room in rooms.get("leave", {}).items()]
        listed += await self._invites(request, rooms.get("invite", {}))
        await self._add_visibility(listed)
        return {
            "end": end,
            "rooms": listed,
            "presence": told.get("presence", {}).get("events", []),
            "account_data": told.get("account_data", {}).get("events", []),
        }

    async def events(self, call: Call) -> Result:
        place = call.query.string("from", None)
        since = parse_page_token(place) if place else self.sync.notifier.position
        timeout = min(call.query.integer("timeout", 0, least=0) / 1000, self.longest)
        room_id = call.query.string("room_id", None)
        reader = visitor(call)
        if room_id is not None:
            return await self._peek(reader, room_id, since, timeout)
        request = await self._request(call, {"room": {"timeline": {"limit": MAX_EVENTS}}})
        request = evolve(request, since=SyncToken(max(since, 0)))
        async with self.presences.syncing(request.user.user_nid, None, None):
            told = orjson.loads(await self.sync.sync(request, timeout))
        return {"start": page_token(since), "end": told["next_batch"], "chunk": _chunk(told)}

    async def event(self, call: Call) -> Result:
        reader, history = visitor(call), self.history
        async with self.database.read() as conn:
            stored = await history.reader.by_id(conn, call.path["eventId"])
            if stored is None:
                raise not_found("No such event")
            try:
                found = await history.reading.event(conn, stored.room.room_id, reader, stored.event.event_id)
            except MatrixError as cause:
                raise not_found("No such event") from cause
            [form] = await self.aggregations.forms(conn, [found], reader.audience)
        return orjson.dumps(form)

    async def _peek(self, reader: Visitor, room_id: str, since: int, timeout: float) -> Result:
        """What happens in one room that the reader may see, member or not."""
        until = asyncio.get_running_loop().time() + timeout
        while True:
            async with self.database.read() as conn:
                view = await self.history.access.view(conn, room_id, reader)
                wanted = PageRequest(backwards=False, limit=MAX_MESSAGES, start=since)
                page = await self.history.page(conn, view, wanted)
                forms = await self.aggregations.forms(conn, page.events, reader.audience)
            remaining = until - asyncio.get_running_loop().time()
            if forms or remaining <= 0:
                end = page.end if page.end is not None else since
                return {"start": page_token(since), "end": page_token(end), "chunk": forms}
            await asyncio.sleep(min(PEEK_EVERY, remaining))

    async def _request(self, call: Call, wanted: dict[str, Any]) -> SyncRequest:
        requester = call.requester
        return SyncRequest(
            user_id=requester.user_id,
            user=await self.sync.notifier.active(requester.user_nid),
            device_nid=None,
            view=view_of(parse_sync_filter(wanted)),
        )

    async def _invites(self, request: SyncRequest, shown: dict[str, Any]) -> list[dict[str, Any]]:
        """The invites that the user is shown, with the events that made them."""
        async with self.database.read() as conn:
            found = await local_memberships(conn, request.user.user_nid, memberships=[INVITE])
            events = await self.history.reader.by_nids(conn, [one.event_nid for one in found])
        kept = [stored for stored in events.values() if stored.room.room_id in shown]
        forms = await plain_forms(kept)
        return [
            {
                "room_id": stored.room.room_id,
                "membership": "invite",
                "inviter": stored.event.sender,
                "invite": form,
            }
            for stored, form in zip(kept, forms, strict=True)
        ]

    async def _add_visibility(self, rooms: list[dict[str, Any]]) -> None:
        async with self.database.read() as conn:
            published = await directory.published_of(conn, [room["room_id"] for room in rooms])
        for room in rooms:
            room["visibility"] = "public" if room["room_id"] in published else "private"


def _room(room_id: str, room: dict[str, Any], membership: str, end: str) -> dict[str, Any]:
    """A room of a sync's answer as /initialSync tells it."""
    timeline = room.get("timeline", {})
    start = timeline.get("prev_batch", end)
    return {
        "room_id": room_id,
        "membership": membership,
        "messages": {"chunk": _of_room(room_id, timeline.get("events", [])), "start": start, "end": end},
        "state": _of_room(room_id, room.get("state_after", {}).get("events", [])),
        "account_data": room.get("account_data", {}).get("events", []),
    }


def _chunk(told: dict[str, Any]) -> list[dict[str, Any]]:
    """All that a sync tells, one after the other."""
    chunk: list[dict[str, Any]] = list(told.get("presence", {}).get("events", []))
    rooms = told.get("rooms", {})
    for part in ("join", "leave"):
        for room_id, room in rooms.get(part, {}).items():
            for name in ("timeline", "ephemeral"):
                chunk += _of_room(room_id, room.get(name, {}).get("events", []))
    for room_id, room in rooms.get("invite", {}).items():
        events = room["invite_state"]["events"]
        chunk += _of_room(room_id, [one for one in events if one.get("type") == "m.room.member"][-1:])
    return chunk


def _of_room(room_id: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**event, "room_id": room_id} for event in events]
