"""Client-Server API, "OpenID"."""

from attrs import frozen

from client_api.ownership import own
from homeserver.services.openid import OpenID
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result


@frozen
class OpenIDApi:
    """[cs "OpenID"]"""

    openid: OpenID
    server_name: str

    def endpoints(self) -> list[Endpoint]:
        path = "/v3/user/{userId}/openid/request_token"
        return [Endpoint("POST", path, self.request_token, rate="other", empty_body=True)]

    async def request_token(self, call: Call) -> Result:
        own(call, "Nobody can prove to be another user")
        token, lifetime = await self.openid.new_token(call.requester.user_nid)
        return {
            "access_token": token,
            "token_type": "Bearer",
            "matrix_server_name": self.server_name,
            "expires_in": lifetime,
        }
