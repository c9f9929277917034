"""Server-Server API, "OpenID": whose token is it?"""

from attrs import frozen

from homeserver.core.errors import MatrixError, unknown_token
from homeserver.services.openid import OpenID
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result


@frozen
class OpenIdApi:
    """GET /openid/userinfo: not only servers ask, so nothing is signed"""

    openid: OpenID

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("GET", "/_matrix/federation/v1/openid/userinfo", self.user_info, auth=Auth.NONE)]

    async def user_info(self, call: Call) -> Result:
        token = call.query.string("access_token", None)
        if not token:
            raise MatrixError(401, "M_MISSING_TOKEN", "Missing access token")
        user_id = await self.openid.user_id(token)
        if user_id is None:
            raise unknown_token("The token is unknown or has expired")
        return {"sub": user_id}
