"""Server-Server API, "Published Room Directory"."""

from attrs import frozen

from homeserver.services.public_list import PublicList
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from homeserver.web.room_search import listing, searching


@frozen
class PublicRoomsApi:
    """GET and POST /publicRooms"""

    rooms: PublicList

    def endpoints(self) -> list[Endpoint]:
        path = "/_matrix/federation/v1/publicRooms"
        return [
            Endpoint("GET", path, self.listed, auth=Auth.SERVER),
            Endpoint("POST", path, self.found, auth=Auth.SERVER, empty_body=True),
        ]

    async def listed(self, call: Call) -> Result:
        wanted = listing(call)
        return await self.rooms.page(wanted.search, since=wanted.since, limit=wanted.limit)

    async def found(self, call: Call) -> Result:
        wanted = searching(call)
        return await self.rooms.page(wanted.search, since=wanted.since, limit=wanted.limit)
