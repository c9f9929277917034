"""Sending transactions [ss "Transactions"]."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from federation.client.paths import federation_path
from federation.transport.requests import Patience, PeerRequests

# The peer may have to fetch what it lacks before it answers.
_PATIENCE = Patience(connect=10, total=60, max_bytes=1024 * 1024)


@frozen
class TransactionRequests:
    """PUT /send"""

    requests: PeerRequests

    async def send(self, destination: str, txn_id: str, body: bytes) -> Mapping[str, Mapping[str, Any]]:
        """Hand over a transaction; gives what became of each PDU: event id to {} or {"error": …}."""
        path = federation_path("v1", "send", txn_id)
        answer = await self.requests.put(destination, path, body, patience=_PATIENCE)
        results = answer.get("pdus")
        if not isinstance(results, dict):
            return {}  # COMPAT(servers that answer with nothing): the 200 says that it has arrived
        return {event_id: result for event_id, result in results.items() if isinstance(result, dict)}
