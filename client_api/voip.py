"""Client-Server API, "Voice over IP"."""

from attrs import frozen

from homeserver.core.errors import MatrixError
from homeserver.services.turn import Turn
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result


@frozen
class VoipApi:
    """[cs "Voice over IP"]"""

    turn: Turn

    def endpoints(self) -> list[Endpoint]:
        path = "/v3/voip/turnServer"
        return [Endpoint("GET", path, self.turn_server, auth=Auth.GUEST_OK, rate="other")]

    async def turn_server(self, call: Call) -> Result:
        if call.requester.is_guest and not self.turn.guests:
            raise MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "Guests cannot use the relays")
        return self.turn.credentials(call.requester.user_id)
