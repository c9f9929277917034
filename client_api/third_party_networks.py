"""Client-Server API, "Third-party Networks": no application service offers any."""

from attrs import frozen

from homeserver.core.errors import invalid_param, not_found
from homeserver.core.ids import is_room_alias, is_user_id
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result


@frozen
class ThirdPartyNetworksApi:
    """[cs "Third-party Networks"]"""

    def endpoints(self) -> list[Endpoint]:
        path = "/v3/thirdparty"
        return [
            Endpoint("GET", f"{path}/protocols", self.protocols),
            Endpoint("GET", f"{path}/protocol/{{protocol}}", self.unknown),
            Endpoint("GET", f"{path}/location/{{protocol}}", self.unknown),
            Endpoint("GET", f"{path}/user/{{protocol}}", self.unknown),
            Endpoint("GET", f"{path}/location", self.location),
            Endpoint("GET", f"{path}/user", self.user),
        ]

    async def protocols(self, call: Call) -> Result:
        return {}

    async def unknown(self, call: Call) -> Result:
        raise not_found("There is no such protocol")

    async def location(self, call: Call) -> Result:
        """Which place of a network a room alias stands for; aliases that belong to none are not found."""
        if not is_room_alias(call.query.string("alias")):
            raise invalid_param("alias must be a room alias")
        raise not_found("The alias belongs to no third-party network")

    async def user(self, call: Call) -> Result:
        """The same of a user."""
        if not is_user_id(call.query.string("userid")):
            raise invalid_param("userid must be a user id")
        raise not_found("The user belongs to no third-party network")
