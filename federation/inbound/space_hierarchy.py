"""Server-Server API, "Spaces"."""

from attrs import frozen

from homeserver.services.server_spaces import ServerSpaces
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result


@frozen
class SpaceHierarchyApi:
    """GET /hierarchy/{roomId}"""

    spaces: ServerSpaces

    def endpoints(self) -> list[Endpoint]:
        path = "/_matrix/federation/v1/hierarchy/{roomId}"
        return [Endpoint("GET", path, self.hierarchy, auth=Auth.SERVER)]

    async def hierarchy(self, call: Call) -> Result:
        return await self.spaces.hierarchy(
            call.path["roomId"],
            call.origin,
            suggested_only=call.query.boolean("suggested_only", False),
        )
