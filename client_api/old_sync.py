"""Client-Server API, the deprecated way of syncing: /initialSync, /events and one event by its id.

What they tell is taken from a sync of today; only its form is another one. Messages to devices are left to /sync.
"""

from contextlib import AbstractAsyncContextManager
from typing import Any

import orjson
from attrs import evolve, frozen

from client_api.old_forms import old_events, old_presence, old_receipts, old_room, old_sections
from client_api.room_events import plain_forms
from client_api.visitor import page_limit, visitor
from homeserver.core.errors import MatrixError, not_found
from homeserver.core.filters import parse_sync_filter
from homeserver.core.push.rules import Predefined
from homeserver.core.sync_view import view_of
from homeserver.core.tokens import SyncToken, page_token, parse_page_token
from homeserver.services.onlooking import Onlooking
from homeserver.services.presence import Presences
from homeserver.services.sync import Sync
from homeserver.services.sync_passing import PUSH_RULES
from homeserver.services.sync_request import Style, SyncRequest
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from storage import directory
from storage.memberships import INVITE, local_memberships

MESSAGES, MAX_MESSAGES = 10, 100  # of each room
MAX_EVENTS = 1_000  # of one answer of /events in each room
_AFTER = Style("state_after")


@frozen
class OldSync:
    """Forms of long ago."""

    sync: Sync
    presences: Presences
    onlooking: Onlooking
    predefined: Predefined
    longest: float  # seconds

    def endpoints(self) -> list[Endpoint]:
        guest = Auth.GUEST_OK
        return [
            Endpoint("GET", "/v3/initialSync", self.initial, rate="other"),
            Endpoint("GET", "/v3/events", self.events, auth=guest, long_poll=True),
            Endpoint("GET", "/v3/events/{eventId}", self.event, auth=guest),
        ]

    async def initial(self, call: Call) -> Result:
        limit = page_limit(call, MESSAGES, MAX_MESSAGES)
        archived = call.query.boolean("archived", False)
        wanted = {"room": {"timeline": {"limit": limit}, "include_leave": archived}}
        request = evolve(await self._request(call, wanted), style=_AFTER)
        async with self._there(call):
            told = orjson.loads(await self.sync.sync(request, 0))
        end, rooms = told["next_batch"], told.get("rooms", {})
        listed = [old_room(room_id, room, "join", end) for room_id, room in rooms.get("join", {}).items()]
        listed += [old_room(room_id, room, "leave", end) for room_id, room in rooms.get("leave", {}).items()]
        listed += await self._invites(request, rooms.get("invite", {}))
        await self._add_visibility(listed)
        return {
            "end": end,
            "rooms": listed,
            "presence": await self._presence(request, list(rooms.get("join", {}))),
            "receipts": old_receipts(rooms.get("join", {})),
            "account_data": self._made_by(request.user_id, told.get("account_data", {}).get("events", [])),
        }

    async def events(self, call: Call) -> Result:
        place = call.query.string("from", None)
        since = parse_page_token(place) if place else self.sync.notifier.position
        timeout = min(call.query.integer("timeout", 0, least=0) / 1000, self.longest)
        call.query.integer("limit", MAX_EVENTS, least=0)  # of the first API; nothing is held back any more
        room_id = call.query.string("room_id", None)
        async with self._there(call):
            if room_id is not None:
                return await self._look(call, room_id, since, timeout)
            request = await self._request(call, {"room": {"timeline": {"limit": MAX_EVENTS}}})
            request = evolve(request, since=SyncToken(max(since, 0)))
            told = orjson.loads(await self.sync.sync(request, timeout))
        return {"start": page_token(since), "end": told["next_batch"], "chunk": old_sections(told)}

    async def event(self, call: Call) -> Result:
        reader, history = visitor(call), self.onlooking.history
        async with self.onlooking.database.read() as conn:
            stored = await history.reader.by_id(conn, call.path["eventId"])
            if stored is None:
                raise not_found("No such event")
            try:
                found = await history.reading.event(conn, stored.room.room_id, reader, stored.event.event_id)
            except MatrixError as cause:
                raise not_found("No such event") from cause
            [form] = await self.onlooking.aggregations.forms(conn, [found], reader.audience)
        return orjson.dumps(form)

    async def _look(self, call: Call, room_id: str, since: int, timeout: float) -> Result:
        """What happens in one room that the reader may see, in it or not [cs "Room previews"]."""
        seen = await self.onlooking.news(room_id, visitor(call), since, timeout)
        passing = old_events(room_id, seen.ephemeral) + old_presence(seen.presence)
        return {
            "start": page_token(seen.start),
            "end": page_token(seen.end),
            "chunk": [*seen.events, *passing],
        }

    def _there(self, call: Call) -> AbstractAsyncContextManager[None]:
        """Who asks is there, on this device."""
        return self.presences.syncing(call.requester.user_nid, call.requester.device_nid, None)

    async def _presence(self, request: SyncRequest, room_ids: list[str]) -> list[dict[str, Any]]:
        """Of everybody in the user's rooms, and their own."""
        passing, me = self.onlooking.passing, request.user.user_nid
        async with self.onlooking.database.read() as conn:
            rooms = await self.onlooking.history.reader.rooms.by_ids(conn, room_ids)
            found = await passing.of_members(conn, [room.nid for room in rooms])
            found |= await passing.of_users(conn, {me})
            return old_presence(await passing.presence_events(conn, request, found))

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
        async with self.onlooking.database.read() as conn:
            found = await local_memberships(conn, request.user.user_nid, memberships=[INVITE])
            events = await self.onlooking.history.reader.by_nids(conn, [one.event_nid for one in found])
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
        async with self.onlooking.database.read() as conn:
            published = await directory.published_of(conn, [room["room_id"] for room in rooms])
        for room in rooms:
            room["visibility"] = "public" if room["room_id"] in published else "private"

    def _made_by(self, user_id: str, account_data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Account data less the push rules that everybody begins with: those nobody has made."""
        default = {"type": PUSH_RULES, "content": self.predefined.rules(user_id).as_content()}
        return [event for event in account_data if event != default]
