"""Client-Server API, "Third-party Networks": no application service offers any."""

from attrs import frozen

from homeserver.core.errors import not_found
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result


@frozen
class ThirdPartyNetworksApi:
    """[cs "Third-party Networks"]"""

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", "/v3/thirdparty/protocols", self.protocols),
            Endpoint("GET", "/v3/thirdparty/protocol/{protocol}", self.protocol),
        ]

    async def protocols(self, call: Call) -> Result:
        return {}

    async def protocol(self, call: Call) -> Result:
        raise not_found("There is no such protocol")
