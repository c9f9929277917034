"""Identity servers are told which users have which addresses, and when it is no longer so."""

from attrs import field, frozen

from federation.transport.identity_servers import IdentityServers
from homeserver.core.errors import MatrixError
from homeserver.services.addresses.accounts import Binding
from storage.addresses import add_binding
from storage.database import Database


@frozen
class Secrets:
    """What proves to an identity server that a user has an address, and who asks."""

    sid: str
    client_secret: str = field(repr=False)
    token: str = field(repr=False)


@frozen
class AddressBindings:
    """Binds and unbinds."""

    servers: IdentityServers
    database: Database

    async def bind(self, user_nid: int, user_id: str, server: str, secrets: Secrets) -> None:
        """Let one know a user by the address of its session [cs "POST /account/3pid/bind"]; remembered."""
        body = {"sid": secrets.sid, "client_secret": secrets.client_secret, "mxid": user_id}
        answer = await self.servers.post(server, "/3pid/bind", body, secrets.token)
        medium, address = answer.get("medium"), answer.get("address")
        if not isinstance(medium, str) or not isinstance(address, str) or "\0" in medium + address:
            raise MatrixError(503, "M_UNKNOWN", "The identity server did not say what it has bound")
        async with self.database.writer() as conn:
            await add_binding(conn, user_nid, medium, address, server)

    async def unbind(self, binding: Binding) -> bool:
        """Let it forget; we sign, as the user has no token any more. False where it does not do that."""
        if not self.servers.trusts(binding.server):
            return False
        threepid = {"medium": binding.medium, "address": binding.address}
        body = {"mxid": binding.user_id, "threepid": threepid}
        try:
            await self.servers.post_signed(binding.server, "/3pid/unbind", body)
        except MatrixError as refusal:
            if refusal.status in (400, 404, 501):  # not supported there [identity service API]
                return False
            raise
        return True
