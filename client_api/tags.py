"""Client-Server API, "Room Tagging"."""

from attrs import frozen

from client_api.account_data import place
from client_api.ownership import own
from homeserver.services.account_data import TAG, AccountDataStore
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result

_FORBIDDEN = "Tags belong to their user"


@frozen
class TagsApi:
    """[cs "Room Tagging"]"""

    store: AccountDataStore

    def endpoints(self) -> list[Endpoint]:
        path = "/v3/user/{userId}/rooms/{roomId}/tags"
        return [
            Endpoint("GET", path, self.read),
            Endpoint("PUT", path + "/{tag}", self.add, rate="other"),
            Endpoint("DELETE", path + "/{tag}", self.remove, rate="other", empty_body=True),
        ]

    async def read(self, call: Call) -> Result:
        own(call, _FORBIDDEN)
        return await self.store.tags(place(call, TAG))

    async def add(self, call: Call) -> Result:
        own(call, _FORBIDDEN)
        call.optional("order", float)
        await self.store.add_tag(place(call, TAG), call.path["tag"], call.body)
        return {}

    async def remove(self, call: Call) -> Result:
        own(call, _FORBIDDEN)
        await self.store.remove_tag(place(call, TAG), call.path["tag"])
        return {}
