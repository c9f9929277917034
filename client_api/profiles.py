"""Client-Server API, "Profiles"."""

from attrs import frozen

from client_api.ownership import own
from homeserver.services.profiles import Profiles
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result

_FORBIDDEN = "Nobody can change the profile of another user"


@frozen
class ProfilesApi:
    """[cs "Profiles"]"""

    profiles: Profiles

    def endpoints(self) -> list[Endpoint]:
        profile = "/v3/profile/{userId}"
        field = profile + "/{keyName}"
        return [
            Endpoint("GET", profile, self.read, auth=Auth.OPTIONAL),
            Endpoint("GET", field, self.read_field, auth=Auth.OPTIONAL),
            Endpoint("PUT", field, self.write_field, auth=Auth.GUEST_OK, rate="other", suspended=False),
            Endpoint(
                "DELETE",
                field,
                self.delete_field,
                auth=Auth.GUEST_OK,
                rate="other",
                empty_body=True,
                suspended=False,
            ),
        ]

    async def read(self, call: Call) -> Result:
        return dict(await self.profiles.get(call.path["userId"]))

    async def read_field(self, call: Call) -> Result:
        name = call.path["keyName"]
        return {name: await self.profiles.get_field(call.path["userId"], name)}

    async def write_field(self, call: Call) -> Result:
        own(call, _FORBIDDEN)
        await self.profiles.set_field(call.requester.user_id, call.path["keyName"], call.canonical_body())
        return {}

    async def delete_field(self, call: Call) -> Result:
        own(call, _FORBIDDEN)
        await self.profiles.delete_field(call.requester.user_id, call.path["keyName"])
        return {}
