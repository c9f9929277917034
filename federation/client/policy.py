"""Asking a policy server to sign an event [ss "Asking for a Policy Server signature on an event"]."""

from attrs import frozen

from federation.client.shapes import JsonObject
from federation.transport.requests import QUICK, PeerRequests


@frozen
class PolicyRequests:
    """A client waits for the answer."""

    requests: PeerRequests

    async def sign(self, destination: str, pdu: bytes) -> JsonObject:
        """Signatures by server and key id, or PeerRefused where the server does not recommend the event."""
        return await self.requests.post(destination, "/_matrix/policy/v1/sign", pdu, patience=QUICK)
