"""Client-Server API, "Password management", "Account deactivation" and "Current account information"."""

from attrs import frozen

from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result


@frozen
class AccountApi:
    """[cs "Current account information"]"""

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("GET", "/v3/account/whoami", self.whoami, auth=Auth.GUEST_OK)]

    async def whoami(self, call: Call) -> Result:
        requester = call.requester
        answer = {"user_id": requester.user_id, "is_guest": requester.is_guest}
        if requester.device_id is not None:
            answer["device_id"] = requester.device_id
        return answer
