"""Content hash, reference hash, event id [ss "Calculating the content hash", "… the reference hash"]."""

import binascii
import hashlib
from collections.abc import Mapping
from typing import Any

from unpaddedbase64 import decode_base64

from homeserver.core import canonical_json
from homeserver.core.redaction import redact
from homeserver.core.room_versions import EventIDFormat, RoomVersion

_NOT_HASHED = ("unsigned", "signatures", "hashes")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_NOT_COVERED = ("unsigned", "signatures", "age_ts")


def canonical_bytes(value: Mapping[str, Any], version: RoomVersion) -> bytes:
    """Canonical JSON as strict as the room version wants it; raises canonical_json.NotCanonical."""
    if version.strict_canonical_json:
        return canonical_json.encode(value)
    return canonical_json.encode_lenient(value)


def content_hash(pdu: Mapping[str, Any], version: RoomVersion) -> str:
    """SHA-256 over the event without `unsigned`, `signatures`, `hashes`; unpadded base64."""
    hashed = dict(pdu)
    for key in _NOT_HASHED:
        hashed.pop(key, None)
    return unpadded(hashlib.sha256(canonical_bytes(hashed, version)).digest())


def content_hash_holds(pdu: Mapping[str, Any], version: RoomVersion) -> bool:
    """Does the event say of itself what it is? If not it is to be redacted on receipt [ss checks 3]."""
    hashes = pdu.get("hashes")
    claimed = hashes.get("sha256") if isinstance(hashes, dict) else None
    if not isinstance(claimed, str):
        return False
    actual = content_hash(pdu, version)
    return claimed == actual or _decoded(claimed) == _decoded(actual)  # what is compared are bytes


def _decoded(text: str) -> bytes | None:
    """The bytes of base64, padded or not; None where it is none."""
    try:
        return decode_base64(text)
    except ValueError:
        return None


def covered_bytes(pdu: Mapping[str, Any], version: RoomVersion) -> bytes:
    """What signatures and the reference hash are made over: the redacted event without what others may add."""
    redacted = redact(pdu, version)
    for key in _NOT_COVERED:
        redacted.pop(key, None)
    return canonical_bytes(redacted, version)


def reference_hash(pdu: Mapping[str, Any], version: RoomVersion) -> bytes:
    """SHA-256 over the redacted event without `signatures` and `unsigned`: its name among events."""
    return hashlib.sha256(covered_bytes(pdu, version)).digest()


def event_id_of(pdu: Mapping[str, Any], version: RoomVersion, *, covered: bytes | None = None) -> str:
    """The event's id: its own word until v2, a hash since v3 [rooms/v3, rooms/v4 "Event IDs"].

    `covered` are the event's `covered_bytes`, where they are at hand.
    """
    if version.event_id_format is EventIDFormat.CHOSEN:
        return str(pdu["event_id"])
    digest = hashlib.sha256(covered_bytes(pdu, version) if covered is None else covered).digest()
    match version.event_id_format:
        case EventIDFormat.HASH:
            return "$" + unpadded(digest)
        case EventIDFormat.URL_SAFE_HASH:
            return "$" + binascii.b2a_base64(digest).translate(_URL_SAFE, b"=\n").decode("ascii")


def unpadded(data: bytes) -> str:
    """Base64 as Matrix writes it [appendices "Unpadded base64"]."""
    return binascii.b2a_base64(data).translate(None, b"=\n").decode("ascii")
