"""Client-Server API, "Filtering"."""

from attrs import frozen

from client_api.ownership import own
from homeserver.services.filters import Filters
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result


@frozen
class FiltersApi:
    """[cs "Filtering"]"""

    filters: Filters

    def endpoints(self) -> list[Endpoint]:
        path = "/v3/user/{userId}/filter"
        return [
            Endpoint("POST", path, self.store, auth=Auth.GUEST_OK, rate="other"),
            Endpoint("GET", path + "/{filterId}", self.read, auth=Auth.GUEST_OK),
        ]

    async def store(self, call: Call) -> Result:
        own(call, "Filters belong to their user")
        return {"filter_id": await self.filters.store(call.requester.user_nid, call.body)}

    async def read(self, call: Call) -> Result:
        own(call, "Filters belong to their user")
        return dict(await self.filters.definition(call.requester.user_nid, call.path["filterId"]))
