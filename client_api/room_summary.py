"""Client-Server API, "Room summaries": what a room is, before one enters it."""

from attrs import frozen

from client_api.visitor import visitor_of
from federation.aliases import Aliases
from homeserver.core.errors import invalid_param
from homeserver.core.ids import is_room_alias, is_room_id
from homeserver.services.room_summaries import RoomSummaries
from homeserver.services.spaces import Spaces
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result


@frozen
class RoomSummaryApi:
    """GET /room_summary."""

    summaries: RoomSummaries
    spaces: Spaces
    aliases: Aliases

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
        named, via = call.path["roomIdOrAlias"], call.query.strings("via")
        if is_room_alias(named):
            found = await self.aliases.resolve(named)
            named, via = found.room_id, [*via, *found.servers]
        elif not is_room_id(named):
            raise invalid_param("Neither a room id nor a room alias")
        requester = call.requester_or_none
        visitor = None if requester is None else visitor_of(requester)
        if await self.summaries.is_ours(named):
            return await self.summaries.summary(named, visitor)
        return await self.spaces.preview(named, via, visitor)
