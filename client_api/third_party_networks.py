"""Client-Server API, "Third-party Networks": what application services say about theirs."""

from attrs import frozen

from homeserver.core.errors import invalid_param, not_found
from homeserver.core.ids import is_room_alias, is_user_id
from homeserver.services.application_services.networks import Networks
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result

# Parameters that are for us, and not fields of a network.
_OURS = frozenset({"access_token", "user_id", "device_id"})


@frozen
class ThirdPartyNetworksApi:
    """[cs "Third-party Networks"]"""

    networks: Networks

    def endpoints(self) -> list[Endpoint]:
        path = "/v3/thirdparty"
        return [
            Endpoint("GET", f"{path}/protocols", self.protocols),
            Endpoint("GET", f"{path}/protocol/{{protocol}}", self.protocol),
            Endpoint("GET", f"{path}/location/{{protocol}}", self.locations, rate="other"),
            Endpoint("GET", f"{path}/user/{{protocol}}", self.users, rate="other"),
            Endpoint("GET", f"{path}/location", self.location, rate="other"),
            Endpoint("GET", f"{path}/user", self.user, rate="other"),
        ]

    async def protocols(self, call: Call) -> Result:
        return await self.networks.protocols()

    async def protocol(self, call: Call) -> Result:
        found = await self.networks.protocol(call.path["protocol"])
        if found is None:
            raise not_found("There is no such protocol")
        return found

    async def locations(self, call: Call) -> Result:
        return await self._search(call, "location")

    async def users(self, call: Call) -> Result:
        return await self._search(call, "user")

    async def location(self, call: Call) -> Result:
        """Which places of networks a room alias stands for."""
        alias = call.query.string("alias")
        if not is_room_alias(alias):
            raise invalid_param("alias must be a room alias")
        found = await self.networks.of("location", alias)
        if not found:
            raise not_found("The alias belongs to no third-party network")
        return found

    async def user(self, call: Call) -> Result:
        """The same of a user."""
        user_id = call.query.string("userid")
        if not is_user_id(user_id):
            raise invalid_param("userid must be a user id")
        found = await self.networks.of("user", user_id)
        if not found:
            raise not_found("The user belongs to no third-party network")
        return found

    async def _search(self, call: Call, kind: str) -> Result:
        fields = {name: value for name, value in call.query.pairs().items() if name not in _OURS}
        found = await self.networks.search(kind, call.path["protocol"], fields)
        if not found:
            raise not_found("No application service knows such a thing")
        return found
