"""Credentials for TURN relays, good for a time, made of a secret that the relays know too [cs "Voice over IP"]."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from attrs import field, frozen

from homeserver.core.errors import not_found
from homeserver.services.now import Clock, now_ms


@frozen
class Turn:
    """Makes credentials."""

    uris: Sequence[str]
    secret: str = field(repr=False)
    lifetime: int
    guests: bool = True
    clock: Clock = now_ms

    def credentials(self, user_id: str) -> dict[str, Any]:
        """For one user. Raises M_NOT_FOUND without relays: an answer without credentials would not be one."""
        if not self.uris or not self.secret:
            raise not_found("This server has no TURN server")
        # The name says until when; the relays take no other [draft-uberti-behave-turn-rest-00].
        name = f"{self.clock() // 1000 + self.lifetime}:{user_id}"
        digest = hmac.new(self.secret.encode(), name.encode(), hashlib.sha1).digest()
        password = b64encode(digest).decode()
        return {"username": name, "password": password, "uris": list(self.uris), "ttl": self.lifetime}
