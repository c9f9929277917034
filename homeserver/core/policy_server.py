"""The room's policy server: which it is, and whether it recommends an event [ss "Policy Servers"]."""

from collections.abc import Container

from attrs import frozen
from nacl.exceptions import CryptoError
from signedjson.key import decode_verify_key_bytes
from signedjson.types import VerifyKey
from unpaddedbase64 import decode_base64

from homeserver.core.event import Event
from homeserver.core.signing import signature_holds

POLICY = ("m.room.policy", "")
KEY_ID = "ed25519:policy_server"  # always [ss "Validating Policy Server signatures"]


@frozen
class PolicyServer:
    """The server that signs what it recommends, and its key; None where the room names an unusable one."""

    via: str
    key: VerifyKey | None

    def recommends(self, event: Event) -> bool:
        """Carries `event` this server's signature? The policy itself needs none."""
        if event.is_state and event.key == POLICY:
            return True
        return self.key is not None and signature_holds(event.pdu, self.via, self.key, event.version)


def policy_server(policy: Event | None, joined_servers: Container[str]) -> PolicyServer | None:
    """Whom `m.room.policy` names, if the room uses one [ss "Determining if a Policy Server is enabled in a room"]."""
    if policy is None:
        return None
    via, keys = policy.content.get("via"), policy.content.get("public_keys")
    public_key = keys.get("ed25519") if isinstance(keys, dict) else None
    if not isinstance(via, str) or not isinstance(public_key, str) or via not in joined_servers:
        return None
    return PolicyServer(via, _decoded(public_key))


def _decoded(public_key: str) -> VerifyKey | None:
    try:
        return decode_verify_key_bytes(KEY_ID, decode_base64(public_key))
    except (ValueError, CryptoError):
        return None
