"""Client-Server API, "Adding Account Administrative Contact Information": this server keeps no addresses."""

from collections.abc import Awaitable, Callable

from attrs import frozen

from homeserver.core.errors import MatrixError
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result

_ADD = MatrixError(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED", "This server keeps no addresses of this kind")
_DENIED = MatrixError(403, "M_THREEPID_DENIED", "This server keeps no addresses")
_UNKNOWN = MatrixError(400, "M_THREEPID_NOT_FOUND", "No account here has this address")
_UNTRUSTED = MatrixError(400, "M_SERVER_NOT_TRUSTED", "This server works with no identity server")
_NO_SESSION = MatrixError(400, "M_THREEPID_AUTH_FAILED", "This address has not been validated")


@frozen
class AdministrativeContactApi:
    """[cs "Adding Account Administrative Contact Information"]"""

    def endpoints(self) -> list[Endpoint]:
        path = "/v3/account/3pid"
        endpoints = [
            Endpoint("GET", path, self.all),
            Endpoint("POST", path, refuse_with(_NO_SESSION), rate="other"),
            Endpoint("POST", f"{path}/add", refuse_with(_NO_SESSION), rate="other"),
            Endpoint("POST", f"{path}/bind", refuse_with(_UNTRUSTED), rate="other"),
            Endpoint("POST", f"{path}/delete", self.remove, rate="other"),
            Endpoint("POST", f"{path}/unbind", self.remove, rate="other"),
        ]
        for medium in ("email", "msisdn"):
            for place, error in (
                ("account/3pid", _ADD),
                ("account/password", _UNKNOWN),
                ("register", _DENIED),
            ):
                token_path = f"/v3/{place}/{medium}/requestToken"
                endpoints.append(
                    Endpoint("POST", token_path, refuse_with(error), auth=Auth.NONE, rate="other")
                )
        return endpoints

    async def all(self, call: Call) -> Result:
        return {"threepids": []}

    async def remove(self, call: Call) -> Result:
        """What is not there needs no removing."""
        call.field("medium", str)
        call.field("address", str)
        return {"id_server_unbind_result": "no-support"}


def refuse_with(error: MatrixError) -> Callable[[Call], Awaitable[Result]]:
    """A handler that always says the same."""

    async def refuse(call: Call) -> Result:
        raise MatrixError(error.status, error.errcode, error.message)

    return refuse
