"""Server-Server API, "Policy Servers": this server is none, and says so in the specified way."""

from attrs import frozen

from homeserver.core.errors import not_found
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result


@frozen
class PolicyApi:
    """POST /sign"""

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("POST", "/_matrix/policy/v1/sign", self.sign, auth=Auth.SERVER)]

    async def sign(self, call: Call) -> Result:
        _ = call.body  # what is no JSON object is told so first
        raise not_found("This server protects no rooms as their policy server")
