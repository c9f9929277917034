"""Client-Server API, "Getting events for a room": state, members, single events."""

import asyncio
from collections.abc import Callable

import orjson
from attrs import frozen

from client_api.visitor import place, visitor
from homeserver.core.client_event import client_form
from homeserver.core.errors import MatrixError, not_found
from homeserver.core.membership import MEMBERSHIPS
from homeserver.services.aggregations import Aggregations
from homeserver.services.now import now_ms
from homeserver.services.room_reading import RoomReading
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from storage.events import StoredEvent

AT_ONCE = 500  # events, before others get their turn


@frozen
class RoomEvents:
    """What a room is, and what was said in it once."""

    reading: RoomReading
    aggregations: Aggregations

    def endpoints(self) -> list[Endpoint]:
        guest = Auth.GUEST_OK  # [cs "Guest Access"]
        return [
            Endpoint(
                "GET",
                "/v3/rooms/{roomId}/state/{eventType}/{stateKey}",
                self.state_event,
                also=("/v3/rooms/{roomId}/state/{eventType}",),
                auth=guest,
            ),
            Endpoint("GET", "/v3/rooms/{roomId}/state", self.state, auth=guest),
            Endpoint("GET", "/v3/rooms/{roomId}/event/{eventId}", self.event, auth=guest),
            Endpoint("GET", "/v3/rooms/{roomId}/members", self.members, auth=guest),
            Endpoint("GET", "/v3/rooms/{roomId}/joined_members", self.joined_members),
            Endpoint("GET", "/v3/joined_rooms", self.joined_rooms, auth=guest),
        ]

    async def state(self, call: Call) -> Result:
        return await plain_forms(await self.reading.state(call.path["roomId"], visitor(call)))

    async def state_event(self, call: Call) -> Result:
        answer_format = call.query.choice("format", ("content", "event"), "content")
        key = (call.path["eventType"], call.path.get("stateKey", ""))
        stored = await self.reading.state_event(call.path["roomId"], visitor(call), key)
        if answer_format == "content":
            return dict(stored.event.content)
        return orjson.dumps((await plain_forms([stored]))[0])

    async def event(self, call: Call) -> Result:
        reader = visitor(call)
        async with self.reading.database.read() as conn:
            try:
                stored = await self.reading.event(conn, call.path["roomId"], reader, call.path["eventId"])
            except MatrixError as cause:
                # 404 is also for who may not know whether there is such an event [cs "GET /event"].
                raise not_found("No such event, or you may not see it") from cause
            return orjson.dumps((await self.aggregations.forms(conn, [stored], reader.audience))[0])

    async def members(self, call: Call) -> Result:
        found = await self.reading.members(
            call.path["roomId"], visitor(call), at=place(call, "at"), wanted=_wanted_memberships(call)
        )
        return {"chunk": await plain_forms(found)}

    async def joined_members(self, call: Call) -> Result:
        found = await self.reading.joined_members(call.path["roomId"], visitor(call))
        return {"joined": {stored.event.state_key: _profile(stored) for stored in found}}

    async def joined_rooms(self, call: Call) -> Result:
        return {"joined_rooms": await self.reading.joined_rooms(visitor(call))}


async def plain_forms(events: list[StoredEvent], *, user_id: bool = False) -> list[orjson.Fragment]:
    """State for clients, without a look at each event's past; there can be very much of it."""
    now = now_ms()
    forms: list[orjson.Fragment] = []
    for start in range(0, len(events), AT_ONCE):
        forms += [
            client_form(
                stored.event, {"age": now - stored.event.origin_server_ts}, room_id=True, user_id=user_id
            )
            for stored in events[start : start + AT_ONCE]
        ]
        await asyncio.sleep(0)  # others have their turn
    return forms


def _wanted_memberships(call: Call) -> Callable[[str], bool]:
    only = call.query.choice("membership", MEMBERSHIPS, None)
    without = call.query.choice("not_membership", MEMBERSHIPS, None)
    return lambda membership: (only is None or membership == only) and membership != without


def _profile(stored: StoredEvent) -> dict[str, str]:
    """What of a member event is about the person [cs `RoomMember`]."""
    content = stored.event.content
    named = {"display_name": content.get("displayname"), "avatar_url": content.get("avatar_url")}
    return {name: value for name, value in named.items() if isinstance(value, str)}
