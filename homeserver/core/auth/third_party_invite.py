"""Authorization of an invitation that redeems a third-party invite [rooms/v12 auth 5.4.1]."""

from collections.abc import Iterator, Mapping
from itertools import islice, product
from typing import Any

from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey
from unpaddedbase64 import decode_base64

from homeserver.core import canonical_json
from homeserver.core.auth.rejection import Rejected, reject_if
from homeserver.core.auth.state import AuthState
from homeserver.core.event import Event

_MOST_ATTEMPTS = 256  # keys times signatures; hostile events could ask for hundreds of thousands


def check_third_party_invite(event: Event, state: AuthState) -> None:
    """Has the identity server that the room's invite trusts vouched for this user?"""
    target = event.state_key or ""
    reject_if(state.membership(target) == "ban", "rooms/v12 auth 5.4.1.1", "the user is banned")
    invite = event.content["third_party_invite"]
    signed = invite.get("signed") if isinstance(invite, dict) else None
    if not isinstance(signed, dict):
        raise Rejected("rooms/v12 auth 5.4.1.2", "nothing is signed")
    incomplete = "mxid" not in signed or not isinstance(signed.get("token"), str)
    reject_if(incomplete, "rooms/v12 auth 5.4.1.3", "no user id or no token is signed")
    reject_if(signed["mxid"] != target, "rooms/v12 auth 5.4.1.4", "another user's id is signed")
    offer = state.events.get(("m.room.third_party_invite", signed["token"]))
    if offer is None:
        raise Rejected("rooms/v12 auth 5.4.1.5", "the room has no such third-party invite")
    reject_if(
        offer.sender != event.sender, "rooms/v12 auth 5.4.1.6", "the third-party invite is another user's"
    )
    if _is_signed(signed, offer.content):
        return  # [rooms/v12 auth 5.4.1.7]
    raise Rejected("rooms/v12 auth 5.4.1.8", "no signature matches the third-party invite's keys")


def validity_urls(signed: Mapping[str, Any], offer: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """The keys of an invite that have signed, each with the URL that says whether it is valid still; None: for ever.

    [cs "m.room.third_party_invite"]
    """
    good = set(_signing(signed, offer))
    listed = offer.get("public_keys")
    entries = [offer, *(listed if isinstance(listed, list) else [])]
    found: dict[str, str | None] = {}
    for entry in entries:
        if isinstance(entry, dict) and _decoded(entry.get("public_key"), 32) in good:
            url = entry.get("key_validity_url")
            found.setdefault(entry["public_key"], url if isinstance(url, str) else None)
    return list(found.items())


def _is_signed(signed: Mapping[str, Any], offer: Mapping[str, Any]) -> bool:
    return next(_signing(signed, offer), None) is not None


def _signing(signed: Mapping[str, Any], offer: Mapping[str, Any]) -> Iterator[bytes]:
    """The invite's keys that have signed."""
    unsigned = {key: value for key, value in signed.items() if key not in ("signatures", "unsigned")}
    try:
        message = canonical_json.encode_lenient(unsigned)
    except canonical_json.NotCanonical:
        return
    attempts = product(list(_signatures(signed)), dict.fromkeys(_public_keys(offer)))
    for signature, key in islice(attempts, _MOST_ATTEMPTS):
        if _verifies(message, signature, key):
            yield key


def _signatures(signed: Mapping[str, Any]) -> Iterator[bytes]:
    """Every ed25519 signature, whoever made it."""
    servers = signed.get("signatures")
    for keys in servers.values() if isinstance(servers, dict) else ():
        for key_id, text in keys.items() if isinstance(keys, dict) else ():
            if key_id.startswith("ed25519:") and (signature := _decoded(text, 64)):
                yield signature


def _public_keys(offer: Mapping[str, Any]) -> Iterator[bytes]:
    """The invite's one `public_key` [rooms/v12 auth 5.4.1.7.1] and its `public_keys` [rooms/v12 auth 5.4.1.7.2]."""
    if key := _decoded(offer.get("public_key"), 32):
        yield key
    listed = offer.get("public_keys")
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict) and (key := _decoded(entry.get("public_key"), 32)):
            yield key


def _decoded(text: object, length: int) -> bytes | None:
    """Unpadded base64 of a known length, or None."""
    if not isinstance(text, str):
        return None
    try:
        data = decode_base64(text)
    except ValueError:
        return None
    return data if len(data) == length else None


def _verifies(message: bytes, signature: bytes, key: bytes) -> bool:
    try:
        VerifyKey(key).verify(message, signature)
    except (CryptoError, ValueError):
        return False
    return True
