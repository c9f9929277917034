"""Server-Server API, "Server implementation": which software speaks here."""

from attrs import frozen

from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result


@frozen
class VersionApi:
    """GET /version"""

    name: str
    version: str

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("GET", "/_matrix/federation/v1/version", self.tell, auth=Auth.NONE)]

    async def tell(self, call: Call) -> Result:
        return {"server": {"name": self.name, "version": self.version}}
