"""Sign events, verify them, and say which servers must have signed [ss "Signing Events"].

Keys are signedjson's (nacl keys that know their algorithm and version). Everything but events is signed with
signedjson itself; events, on the hot path, use the same keys over orjson's canonical bytes.
"""

import base64
from collections.abc import Mapping
from typing import Any

from nacl.exceptions import CryptoError
from signedjson.types import SigningKey, VerifyKey

from homeserver.core.hashing import covered_bytes, unpadded
from homeserver.core.ids import domain_of
from homeserver.core.room_versions import RoomVersion


def sign_event(
    pdu: Mapping[str, Any], server_name: str, key: SigningKey, version: RoomVersion
) -> dict[str, Any]:
    """`pdu`, its hash already inside, with our signature over its redacted form added."""
    signature = unpadded(key.sign(signed_bytes(pdu, version)).signature)
    signatures = {name: dict(keys) for name, keys in pdu.get("signatures", {}).items()}
    signatures.setdefault(server_name, {})[f"{key.alg}:{key.version}"] = signature
    return {**pdu, "signatures": signatures}


def signed_bytes(pdu: Mapping[str, Any], version: RoomVersion) -> bytes:
    """What an event's signatures are made over: the redacted event without signatures and unsigned."""
    return covered_bytes(pdu, version)


def signature_holds(pdu: Mapping[str, Any], server_name: str, key: VerifyKey, version: RoomVersion) -> bool:
    """Has `server_name` signed `pdu` with `key`? Never raises for a malformed signature."""
    try:
        text = pdu["signatures"][server_name][f"{key.alg}:{key.version}"]
    except (KeyError, TypeError):
        return False
    return signature_verifies(signed_bytes(pdu, version), text, key)


def signature_verifies(message: bytes, signature: object, key: VerifyKey) -> bool:
    """Is `signature`, in unpadded base64, the one of `key` over `message`? Anything malformed is not."""
    if not isinstance(signature, str):
        return False
    try:
        key.verify(message, base64.b64decode(signature + "=" * (-len(signature) % 4), validate=True))
    except (ValueError, CryptoError):
        return False
    return True


def must_have_signed(pdu: Mapping[str, Any], version: RoomVersion) -> frozenset[str]:
    """The servers whose signatures the event needs [ss "Validating hashes and signatures on received events"]."""
    content = pdu.get("content", {})
    member = pdu["type"] == "m.room.member"
    servers = set()
    if not (member and _is_third_party_invite(content)):
        servers.add(domain_of(pdu["sender"]))
    if version.event_id_in_pdu:
        servers.add(domain_of(pdu["event_id"]))  # until v2
    if member and version.restricted and content.get("membership") == "join":
        authorizer = content.get("join_authorised_via_users_server")
        if isinstance(authorizer, str):
            servers.add(domain_of(authorizer))  # since v8 [rooms/v8 "Authorization rules"]
    return frozenset(servers)


def _is_third_party_invite(content: Mapping[str, Any]) -> bool:
    """Such an invite is made by the identity server's word; its sender's server need not have signed."""
    return content.get("membership") == "invite" and "third_party_invite" in content
