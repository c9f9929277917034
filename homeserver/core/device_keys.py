"""Validity of the keys that clients publish: device keys, one-time keys, cross-signing keys and who signed them.

The private halves never come here. What a signature says is checked wherever the key that made it is known, so
that nobody is handed a signature that does not hold; whom to trust is the clients' decision.
[cs "End-to-End Encryption"]
"""

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen
from signedjson.key import decode_verify_key_bytes
from signedjson.types import VerifyKey
from unpaddedbase64 import decode_base64

from homeserver.core import canonical_json
from homeserver.core.errors import MatrixError, bad_json, invalid_param, missing_param
from homeserver.core.signing import signature_verifies

ED25519 = "ed25519"
MAX_KEY_BYTES = 65_536  # of one published object
_UNSIGNED = ("signatures", "unsigned")

JSONObject = Mapping[str, Any]


@frozen
class CrossKey:
    """A cross-signing key that may be kept. `value` has the signatures that hold, and no `unsigned`."""

    usage: str
    public_key: str
    value: dict[str, Any]


def canonical(value: Any) -> str:
    """The text under which keys are kept and compared. Raises M_BAD_JSON, M_TOO_LARGE."""
    try:
        text = canonical_json.check(value)
    except canonical_json.NotCanonical as error:
        raise bad_json("Keys must be canonical JSON: no floats, integers within 53 bits") from error
    if len(text) > MAX_KEY_BYTES:
        raise MatrixError(413, "M_TOO_LARGE", "The key is too large")
    return text.decode()


def bare(value: JSONObject) -> dict[str, Any]:
    """What signatures are made over [appendices "Signing JSON"]."""
    return {name: item for name, item in value.items() if name not in _UNSIGNED}


def verify_key(public_key: object) -> VerifyKey | None:
    """An Ed25519 key from unpadded base64; None where it is none."""
    if not isinstance(public_key, str):
        return None
    try:
        return decode_verify_key_bytes("ed25519:0", decode_base64(public_key))
    except (ValueError, UnicodeError):
        return None


def signatures_of(value: JSONObject, user_id: str) -> dict[str, str]:
    """key id -> signature, of one user over an object."""
    signatures = value.get("signatures")
    given = signatures.get(user_id) if isinstance(signatures, dict) else None
    if not isinstance(given, dict):
        return {}
    return {key_id: text for key_id, text in given.items() if isinstance(text, str)}


def is_signed(value: JSONObject, user_id: str, key_id: str, public_key: object) -> bool:
    """Has `user_id` signed `value` with this key? Never raises for what is malformed."""
    signature = signatures_of(value, user_id).get(key_id)
    key = verify_key(public_key)
    if signature is None or key is None:
        return False
    try:
        message = canonical_json.encode(bare(value))
    except canonical_json.NotCanonical:
        return False
    return signature_verifies(message, signature, key)


def with_signatures(value: JSONObject, user_id: str, more: Mapping[str, str]) -> dict[str, Any]:
    """`value` with further signatures of one user."""
    signatures = value.get("signatures", {})
    return {**value, "signatures": {**signatures, user_id: {**signatures.get(user_id, {}), **more}}}


def device_key(value: JSONObject, device_id: str) -> str | None:
    """The Ed25519 key in a device's keys: its fingerprint."""
    keys = value.get("keys")
    key = keys.get(f"{ED25519}:{device_id}") if isinstance(keys, dict) else None
    return key if isinstance(key, str) else None


def checked_device_keys(
    value: JSONObject,
    user_id: str,
    device_id: str,
    self_signing_key: str | None = None,
    *,
    published: bool = False,
) -> dict[str, Any]:
    """Device keys as they may be kept: the device's own, with those signatures of its user that hold.

    What other servers tell is refused where the device's own signature does not hold; what a device has `published`
    itself goes to the readers as it is, who must check it anyway. Other signatures are left out if they do not hold.
    COMPAT(SyTest, until it signs): keys without any signature, or without a key to check one by, are kept. They
    vouch for nothing.
    """
    if value.get("user_id") != user_id or value.get("device_id") != device_id:
        raise invalid_param("The keys are those of another user or device")
    keys = value.get("keys", {})
    if not isinstance(keys, dict) or not all(isinstance(key, str) for key in keys.values()):
        raise bad_json("keys must be an object of strings")
    algorithms = value.get("algorithms", [])
    if not isinstance(algorithms, list) or not all(isinstance(name, str) for name in algorithms):
        raise bad_json("algorithms must be a list of strings")
    canonical(value)
    own_id, given = f"{ED25519}:{device_id}", signatures_of(value, user_id)
    known = {own_id: device_key(value, device_id)}
    if self_signing_key is not None:
        known[f"{ED25519}:{self_signing_key}"] = self_signing_key
    holding = {
        key_id for key_id in given if key_id in known and is_signed(value, user_id, key_id, known[key_id])
    }
    if own_id in given and published and verify_key(known[own_id]) is not None:
        holding.add(own_id)
    if own_id in given and own_id not in holding and verify_key(known[own_id]) is not None:
        raise invalid_signature("The device keys are not signed by the device")
    # Clients are promised `signatures`, also where none held [cs "End-to-end encryption"].
    held = {user_id: {key_id: given[key_id] for key_id in holding}} if holding else {}
    return {**bare(value), "signatures": held}


def check_complete(value: JSONObject) -> None:
    """Does a device that publishes its keys tell all that it must? [cs "Uploading keys"] Raises M_BAD_JSON."""
    for name, kind in (("algorithms", list), ("keys", dict), ("signatures", dict)):
        if not isinstance(value.get(name), kind):
            raise bad_json(f"device_keys must have {name}")


def same_identity(one: JSONObject, other: JSONObject) -> bool:
    """Do two versions of a device's keys agree about all keys that both have?

    COMPAT(SyTest, until it makes real keys): what is no key of 32 bytes may change, since nobody can use it.
    """
    first, second = one.get("keys", {}), other.get("keys", {})
    shared = first.keys() & second.keys()
    return all(first[key_id] == second[key_id] for key_id in shared if verify_key(first[key_id]) is not None)


def check_one_time_key(key_id: str, value: Any, user_id: str, device_id: str, public_key: str | None) -> None:
    """Is this a one-time or fallback key of the device? [cs "Key algorithms"]

    Raises M_INVALID_PARAM for a bad name, M_BAD_JSON for a bad shape, M_INVALID_SIGNATURE.
    """
    algorithm, colon, name = key_id.partition(":")
    if not algorithm or not colon or not name or "\0" in key_id or len(key_id) > 255:
        raise invalid_param("The name of a one-time key is <algorithm>:<key_id>")
    if isinstance(value, str):
        return
    if not isinstance(value, dict):
        raise bad_json(f"The one-time key {key_id} must be an object or a string")
    signer = f"{ED25519}:{device_id}"
    if verify_key(public_key) is None or signer not in signatures_of(value, user_id):
        return  # nothing to check it by: who claims it will not use it
    if not is_signed(value, user_id, signer, public_key):
        raise invalid_signature(f"The one-time key {key_id} is not signed by the device")


def claimed_key(told: Any, algorithm: str) -> dict[str, str] | None:
    """Of what somebody else told of a device, the one key that was asked for, with its name, if it can be one."""
    if not isinstance(told, dict):
        return None
    for name, value in told.items():
        if name.startswith(f"{algorithm}:") and isinstance(value, (dict, str)):
            try:
                return {name: canonical(value)}
            except MatrixError:
                return None
    return None


def checked_cross_key(value: JSONObject, usage: str, user_id: str) -> CrossKey:
    """The shape of a cross-signing key [cs "Cross-signing"]; its signatures are not looked at yet."""
    if value.get("user_id") != user_id:
        raise invalid_param(f"The {usage} key is that of another user")
    usages, keys = value.get("usage"), value.get("keys")
    if not isinstance(usages, list) or usage not in usages:
        raise invalid_param(f"The usage of the {usage} key does not name it")
    if not isinstance(keys, dict) or len(keys) != 1:
        raise invalid_param(f"The {usage} key must have exactly one public key")
    (key_id, public_key), *_ = keys.items()
    if key_id != f"{ED25519}:{public_key}" or verify_key(public_key) is None:
        raise invalid_param(f"The {usage} key is not ed25519:<unpadded base64 of the key>")
    canonical(value)
    return CrossKey(usage, public_key, {name: item for name, item in value.items() if name != "unsigned"})


def signed_by_master(key: CrossKey, user_id: str, master: str) -> CrossKey:
    """A subordinate key with the signature of the master key alone. Raises M_INVALID_SIGNATURE."""
    signer = f"{ED25519}:{master}"
    if not is_signed(key.value, user_id, signer, master):
        raise invalid_signature(f"The {key.usage} key is not signed by the master key")
    kept = bare(key.value)
    kept["signatures"] = {user_id: {signer: signatures_of(key.value, user_id)[signer]}}
    return CrossKey(key.usage, key.public_key, kept)


def signed_by_devices(key: CrossKey, user_id: str, devices: Iterable[tuple[str, str | None]]) -> CrossKey:
    """A master key with those signatures that the user's (device_id, key) or the key itself have made."""
    known = {f"{ED25519}:{device_id}": public_key for device_id, public_key in devices}
    known[f"{ED25519}:{key.public_key}"] = key.public_key
    given = signatures_of(key.value, user_id)
    holding = {
        key_id: given[key_id]
        for key_id in given
        if key_id in known and is_signed(key.value, user_id, key_id, known[key_id])
    }
    kept = bare(key.value)
    if holding:
        kept["signatures"] = {user_id: holding}
    return CrossKey(key.usage, key.public_key, kept)


def invalid_signature(message: str) -> MatrixError:
    """400 M_INVALID_SIGNATURE."""
    return MatrixError(400, "M_INVALID_SIGNATURE", message)


def required_object(body: JSONObject, name: str) -> dict[str, Any]:
    """An object that must be there. Raises M_MISSING_PARAM, M_BAD_JSON."""
    if name not in body:
        raise missing_param(name)
    value = body[name]
    if not isinstance(value, dict):
        raise bad_json(f"{name} must be an object")
    return value
