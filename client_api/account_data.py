"""Client-Server API, "Client Config"."""

from attrs import frozen

from client_api.ownership import own
from homeserver.services.account_data import AccountDataStore, Place
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result

_FORBIDDEN = "Account data belongs to its user"


@frozen
class AccountDataApi:
    """[cs "Client Config"]"""

    store: AccountDataStore

    def endpoints(self) -> list[Endpoint]:
        paths = (
            "/v3/user/{userId}/account_data/{type}",
            "/v3/user/{userId}/rooms/{roomId}/account_data/{type}",
        )
        return [
            endpoint
            for path in paths
            for endpoint in (
                Endpoint("GET", path, self.read),
                Endpoint("PUT", path, self.write, rate="other"),
            )
        ]

    async def read(self, call: Call) -> Result:
        own(call, _FORBIDDEN)
        return await self.store.get(place(call, call.path["type"]))

    async def write(self, call: Call) -> Result:
        own(call, _FORBIDDEN)
        await self.store.set(place(call, call.path["type"]), call.body)
        return {}


def place(call: Call, kind: str) -> Place:
    """Where the entry stands that a path names."""
    return Place(
        user_id=call.requester.user_id,
        user_nid=call.requester.user_nid,
        room_id=call.path.get("roomId"),
        kind=kind,
    )
