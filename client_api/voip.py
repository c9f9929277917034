"""Client-Server API, "Voice over IP": no TURN server is configured."""

from attrs import frozen

from homeserver.core.errors import not_found
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result


@frozen
class VoipApi:
    """[cs "Voice over IP"]"""

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("GET", "/v3/voip/turnServer", self.turn_server, rate="other")]

    async def turn_server(self, call: Call) -> Result:
        """An answer without credentials would not be one [cs "GET /voip/turnServer"]."""
        raise not_found("This server has no TURN server")
