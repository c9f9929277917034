"""Clients that use OAuth 2.0: they register themselves, and are known by what they said."""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

import orjson
from attrs import frozen

from homeserver.core.oauth.clients import ClientMetadata, client_metadata, registered
from homeserver.core.oauth.errors import OAuthError
from homeserver.services.now import Clock, now_ms
from storage import oauth as rows
from storage.database import Database

UNUSED_MS = 30 * 24 * 3600 * 1000  # so long a client without a session is remembered


@frozen
class OAuthClient:
    """A registered client."""

    client_id: str
    metadata: ClientMetadata

    def as_json(self) -> dict[str, Any]:
        """The answer to its registration."""
        return {"client_id": self.client_id, **self.metadata.as_json()}


@frozen
class OAuthClients:
    """Registers and finds clients [cs "Client registration"]."""

    database: Database
    clock: Clock = now_ms

    async def register(self, said: Mapping[str, Any]) -> OAuthClient:
        """Remember a client; those that say the same are one. Raises OAuthError."""
        metadata = client_metadata(said)
        text = orjson.dumps(metadata.as_json(), option=orjson.OPT_SORT_KEYS)
        client_id = urlsafe_b64encode(hashlib.sha256(text).digest()[:18]).decode()
        now = self.clock()
        async with self.database.transaction() as conn:
            await rows.forget_clients(conn, now - UNUSED_MS)
            await rows.keep_client(conn, client_id, text.decode(), now)
        return OAuthClient(client_id, metadata)

    async def find(self, client_id: str) -> OAuthClient:
        """A client by its id. Raises OAuthError."""
        async with self.database.read() as conn:
            found = await rows.find_client(conn, client_id)
        if found is None:
            raise OAuthError("invalid_client", "This client is not registered, or not any more")
        return OAuthClient(client_id, registered(orjson.loads(found)))
