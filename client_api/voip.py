"""Client-Server API, "Voice over IP": no TURN server is configured."""

from attrs import frozen

from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result


@frozen
class VoipApi:
    """[cs "Voice over IP"]"""

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("GET", "/v3/voip/turnServer", self.turn_server, rate="other")]

    async def turn_server(self, call: Call) -> Result:
        """Clients take an empty answer for "there is none"."""
        return {}
