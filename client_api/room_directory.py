"""Client-Server API, "Room aliases" and "Published room directory"."""

from attrs import frozen

from client_api.visitor import visitor
from federation.aliases import Aliases
from federation.queries import RemoteQueries
from homeserver.core.errors import forbidden, invalid_param
from homeserver.core.ids import is_server_name
from homeserver.services.directory import Directory
from homeserver.services.public_list import PublicList
from homeserver.services.room_reading import RoomReading
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from homeserver.web.room_search import SearchRequest, listing, searching


@frozen
class RoomDirectory:
    """Names of rooms, and the list of public ones."""

    directory: Directory
    aliases_of_all: Aliases
    rooms: PublicList
    queries: RemoteQueries
    reading: RoomReading
    publishing: bool

    def endpoints(self) -> list[Endpoint]:
        alias, listed = "/v3/directory/room/{roomAlias}", "/v3/directory/list/room/{roomId}"
        network = "/v3/directory/list/appservice/{networkId}/{roomId}"
        return [
            Endpoint("GET", alias, self.resolve, auth=Auth.NONE),
            Endpoint("PUT", alias, self.add, rate="other", suspended=False),
            Endpoint("DELETE", alias, self.remove, rate="other"),
            Endpoint("GET", "/v3/rooms/{roomId}/aliases", self.aliases),
            Endpoint("GET", listed, self.visibility, auth=Auth.NONE),
            Endpoint("PUT", listed, self.publish, rate="other", empty_body=True, suspended=False),
            Endpoint("PUT", network, self.publish_by),
            Endpoint("DELETE", network, self.withdraw_by, empty_body=True),
            Endpoint("GET", "/v3/publicRooms", self.public, auth=Auth.OPTIONAL, rate="other"),
            Endpoint(
                "POST", "/v3/publicRooms", self.search, auth=Auth.GUEST_OK, rate="other", empty_body=True
            ),
        ]

    async def resolve(self, call: Call) -> Result:
        found = await self.aliases_of_all.resolve(call.path["roomAlias"])
        return {"room_id": found.room_id, "servers": found.servers}

    async def add(self, call: Call) -> Result:
        room_id = call.field("room_id", str)
        requester = call.requester
        await self.directory.add_alias(
            call.path["roomAlias"], room_id, requester.user_id, service=requester.appservice
        )
        return {}

    async def remove(self, call: Call) -> Result:
        requester = call.requester
        await self.directory.remove_alias(
            call.path["roomAlias"],
            requester.user_id,
            is_admin=requester.is_admin,
            service=requester.appservice,
        )
        return {}

    async def aliases(self, call: Call) -> Result:
        return {"aliases": await self.reading.aliases(call.path["roomId"], visitor(call))}

    async def visibility(self, call: Call) -> Result:
        published = await self.directory.is_published(call.path["roomId"])
        return {"visibility": "public" if published else "private"}

    async def publish(self, call: Call) -> Result:
        published = _is_public(call.optional("visibility", str, "public"))
        if published and not self.publishing:
            raise forbidden("Rooms cannot be published on this server")
        requester = call.requester
        await self.directory.publish(
            call.path["roomId"],
            requester.user_id,
            published=published,
            is_admin=requester.is_admin,
        )
        return {}

    async def publish_by(self, call: Call) -> Result:
        """[as "Published room directories"]"""
        return await self._set_by(call, published=_is_public(call.field("visibility", str)))

    async def withdraw_by(self, call: Call) -> Result:
        """COMPAT(bridges, SyTest): visibility `private` does the same."""
        return await self._set_by(call, published=False)

    async def _set_by(self, call: Call, *, published: bool) -> Result:
        service_id = call.requester.appservice
        if service_id is None:
            raise forbidden("Only application services have lists of networks")
        await self.directory.publish_by(
            service_id, call.path["networkId"], call.path["roomId"], published=published
        )
        return {}

    async def public(self, call: Call) -> Result:
        return await self._list(call, listing(call))

    async def search(self, call: Call) -> Result:
        return await self._list(call, searching(call))

    async def _list(self, call: Call, wanted: SearchRequest) -> Result:
        server = call.query.string("server", None)
        if not server or server == self.directory.timeline.identity.server_name:
            return await self.rooms.page(wanted.search, since=wanted.since, limit=wanted.limit)
        if not is_server_name(server):
            raise invalid_param("server must be the name of a server")
        return await self.queries.public_rooms(server, wanted)


def _is_public(visibility: str) -> bool:
    if visibility not in ("public", "private"):
        raise invalid_param("visibility must be public or private")
    return visibility == "public"
