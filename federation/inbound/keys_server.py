"""Server-Server API, "Publishing Keys": by which keys others recognize what we sign."""

from typing import Any

from attrs import frozen

from federation.protocol.key_responses import RetiredKey, publish
from homeserver.services.identity import Identity
from homeserver.services.now import Clock, now_ms
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result


@frozen
class KeysServerApi:
    """GET /_matrix/key/v2/server"""

    identity: Identity
    retired: tuple[RetiredKey, ...] = ()
    clock: Clock = now_ms

    def endpoints(self) -> list[Endpoint]:
        path = "/_matrix/key/v2/server"
        # COMPAT(servers from before 1.6 of the specification, until nobody asks): they name the key they want.
        return [Endpoint("GET", path, self.tell, auth=Auth.NONE, also=(f"{path}/{{keyId}}",))]

    async def tell(self, call: Call) -> Result:
        return self.current()

    def current(self) -> dict[str, Any]:
        """What we publish now; good for an hour at least."""
        signer = self.identity.signer
        return publish(signer.server_name, signer.key, self.retired, self.clock())
