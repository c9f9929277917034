"""Client-Server API, "Room summaries": what a room is, before one enters it."""

from attrs import frozen

from client_api.visitor import visitor_of
from homeserver.core.errors import invalid_param
from homeserver.core.ids import is_room_alias, is_room_id
from homeserver.services.directory import Directory
from homeserver.services.room_summaries import RoomSummaries
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result


@frozen
class RoomSummaryApi:
    """GET /room_summary."""

    summaries: RoomSummaries
    directory: Directory

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(
                "GET",
                "/v1/room_summary/{roomIdOrAlias}",
                self.summary,
                also=(  # [MSC3266]
                    "/unstable/im.nheko.summary/summary/{roomIdOrAlias}",
                    "/unstable/im.nheko.summary/rooms/{roomIdOrAlias}/summary",
                ),
                auth=Auth.OPTIONAL,
            )
        ]

    async def summary(self, call: Call) -> Result:
        named = call.path["roomIdOrAlias"]
        if is_room_alias(named):
            named = (await self.directory.resolve(named)).room_id
        elif not is_room_id(named):
            raise invalid_param("Neither a room id nor a room alias")
        requester = call.requester_or_none
        return await self.summaries.summary(named, None if requester is None else visitor_of(requester))
