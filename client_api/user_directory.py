"""Client-Server API, "User Directory"."""

from attrs import frozen

from homeserver.core.errors import invalid_param
from homeserver.services.user_directory import UserDirectory
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result

DEFAULT_LIMIT = 10


@frozen
class UserDirectoryApi:
    """[cs "User Directory"]"""

    directory: UserDirectory

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("POST", "/v3/user_directory/search", self.search, rate="other")]

    async def search(self, call: Call) -> Result:
        limit = call.optional("limit", int, DEFAULT_LIMIT)
        if limit < 0:
            raise invalid_param("limit must not be negative")
        return await self.directory.search(call.requester.user_nid, call.field("search_term", str), limit)
