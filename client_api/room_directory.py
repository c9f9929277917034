"""Client-Server API, "Room aliases" and "Published room directory"."""

import re
from typing import Any

from attrs import frozen

from client_api.visitor import visitor
from homeserver.core.errors import bad_json, forbidden, invalid_param, not_found
from homeserver.services.directory import Directory
from homeserver.services.room_reading import RoomReading
from homeserver.services.room_summaries import RoomSummaries, Search
from homeserver.web import fields
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result

MAX_LIMIT = 100
_PLACE = re.compile(r"o([0-9]{1,9})", re.ASCII)


@frozen
class RoomDirectory:
    """Names of rooms, and the list of public ones."""

    directory: Directory
    summaries: RoomSummaries
    reading: RoomReading
    server_name: str
    publishing: bool

    def endpoints(self) -> list[Endpoint]:
        alias, listed = "/v3/directory/room/{roomAlias}", "/v3/directory/list/room/{roomId}"
        return [
            Endpoint("GET", alias, self.resolve, auth=Auth.NONE),
            Endpoint("PUT", alias, self.add, rate="other"),
            Endpoint("DELETE", alias, self.remove, rate="other"),
            Endpoint("GET", "/v3/rooms/{roomId}/aliases", self.aliases),
            Endpoint("GET", listed, self.visibility, auth=Auth.NONE),
            Endpoint("PUT", listed, self.publish, rate="other", empty_body=True),
            Endpoint("GET", "/v3/publicRooms", self.public, auth=Auth.OPTIONAL, rate="other"),
            Endpoint(
                "POST", "/v3/publicRooms", self.search, auth=Auth.GUEST_OK, rate="other", empty_body=True
            ),
        ]

    async def resolve(self, call: Call) -> Result:
        found = await self.directory.resolve(call.path["roomAlias"])
        return {"room_id": found.room_id, "servers": [self.server_name]}

    async def add(self, call: Call) -> Result:
        room_id = call.field("room_id", str)
        await self.directory.add_alias(call.path["roomAlias"], room_id, call.requester.user_id)
        return {}

    async def remove(self, call: Call) -> Result:
        requester = call.requester
        await self.directory.remove_alias(
            call.path["roomAlias"], requester.user_id, is_admin=requester.is_admin
        )
        return {}

    async def aliases(self, call: Call) -> Result:
        return {"aliases": await self.reading.aliases(call.path["roomId"], visitor(call))}

    async def visibility(self, call: Call) -> Result:
        published = await self.directory.is_published(call.path["roomId"])
        return {"visibility": "public" if published else "private"}

    async def publish(self, call: Call) -> Result:
        visibility = call.optional("visibility", str, "public")
        if visibility not in ("public", "private"):
            raise invalid_param("visibility must be public or private")
        if visibility == "public" and not self.publishing:
            raise forbidden("Rooms cannot be published on this server")
        requester = call.requester
        await self.directory.publish(
            call.path["roomId"],
            requester.user_id,
            published=visibility == "public",
            is_admin=requester.is_admin,
        )
        return {}

    async def public(self, call: Call) -> Result:
        limit = call.query.integer("limit", MAX_LIMIT, least=0)
        return await self._list(call, Search(), call.query.string("since", None), limit)

    async def search(self, call: Call) -> Result:
        wanted = call.optional("filter", dict, {})
        term = fields.optional(wanted, "generic_search_term", str)
        search = Search(term or None, _room_types(wanted))
        limit = call.optional("limit", int, MAX_LIMIT)
        if limit < 0:
            raise invalid_param("limit must not be negative")
        return await self._list(call, search, call.optional("since", str), limit)

    async def _list(self, call: Call, search: Search, since: str | None, limit: int) -> Result:
        server = call.query.string("server", None)
        if server not in (None, "", self.server_name):
            raise not_found("The lists of other servers cannot be read yet")
        start = _place(since)
        limit = min(limit or MAX_LIMIT, MAX_LIMIT)
        found = await self.summaries.public(search, start=start, limit=limit)
        answer: dict[str, Any] = {
            "chunk": [summary.public_form() for summary in found.rooms],
            "total_room_count_estimate": found.total,
        }
        if found.next is not None:
            answer["next_batch"] = f"o{found.next}"
        if start:
            answer["prev_batch"] = f"o{max(0, start - limit)}"
        return answer


def _place(since: str | None) -> int:
    if not since:
        return 0
    matched = _PLACE.fullmatch(since)
    if matched is None:
        raise invalid_param("since is no token of this list")
    return int(matched[1])


def _room_types(wanted: dict[str, Any]) -> frozenset[str | None] | None:
    """null stands for rooms without a type [cs "Published room directory"]."""
    types = fields.optional(wanted, "room_types", list)
    if types is None:
        return None
    if not all(kind is None or isinstance(kind, str) for kind in types):
        raise bad_json("room_types must hold strings and null")
    return frozenset(types)
