"""A server's published keys: made, read and checked [ss "Retrieving server keys"].

An answer counts if the server has signed it with a key that the answer itself calls current; that the answer is the
server's is the word of TLS, or of a notary's signature on top. Keys that cannot be read are left out, not the answer.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen
from nacl.exceptions import CryptoError
from signedjson.key import decode_verify_key_bytes, get_verify_key
from signedjson.sign import sign_json
from signedjson.types import SigningKey, VerifyKey
from unpaddedbase64 import decode_base64

from federation.protocol.x_matrix import is_key_id
from homeserver.core import canonical_json
from homeserver.core.hashing import unpadded
from homeserver.core.receipt_checks import ServerKey
from homeserver.core.signing import signature_verifies

DAY = 24 * 3600 * 1000
OUR_LIFETIME = DAY  # never "less than an hour" ahead; a stolen key is believed no longer than this
MAX_LIFETIME = 7 * DAY  # "the lesser of this field and 7 days into the future"
MAX_BYTES = 64 * 1024  # of one server's answer
MAX_KEYS = 200  # in one server's answer, the retired among them: each is stored for ever


class InvalidKeys(ValueError):
    """The answer proves no key of the server; the message says why."""


@frozen
class RetiredKey:
    """A key that signs nothing any more, and the time it stopped (ms)."""

    key: VerifyKey
    expired_ts: int


@frozen
class PublishedKeys:
    """What a server says of its keys: for how long to keep it, and the answer itself, for a notary to pass on."""

    server_name: str
    keys: Mapping[str, ServerKey]
    valid_until_ts: int
    said: Mapping[str, Any] = field(repr=False)

    def fresh_until(self, now: int) -> int:
        """When to ask again: "cache a response for half of its lifetime"."""
        return now + max(0, self.valid_until_ts - now) // 2


def publish(server_name: str, key: SigningKey, retired: Iterable[RetiredKey], now: int) -> dict[str, Any]:
    """Our answer [ss "Publishing Keys"]; `now` in ms."""
    current = get_verify_key(key)
    answer = {
        "server_name": server_name,
        "valid_until_ts": now + OUR_LIFETIME,
        "verify_keys": {key_id(current): {"key": unpadded(current.encode())}},
        "old_verify_keys": {
            key_id(old.key): {"key": unpadded(old.key.encode()), "expired_ts": old.expired_ts}
            for old in retired
            if key_id(old.key) != key_id(current)
        },
    }
    return sign_json(answer, server_name, key)


def countersign(answer: Mapping[str, Any], notary: str, key: SigningKey) -> dict[str, Any]:
    """Another server's answer as a notary passes it on: our signature beside its own."""
    signatures = {name: dict(made) for name, made in answer["signatures"].items()}
    return sign_json({**answer, "signatures": signatures}, notary, key)


def parse(body: bytes, server_name: str, now: int) -> PublishedKeys:
    """Read and check what `server_name` itself has answered, or raise InvalidKeys."""
    if len(body) > MAX_BYTES:
        raise InvalidKeys("the answer is too long")
    return check(_decoded(body), server_name, now)


def check(answer: object, server_name: str, now: int) -> PublishedKeys:
    """Check an answer that has been parsed: whose it is, how long it holds, whether its server signed it."""
    if not isinstance(answer, dict):
        raise InvalidKeys("the answer is not an object")
    if answer.get("server_name") != server_name:
        raise InvalidKeys("the answer speaks of another server")
    valid_until = _time(answer.get("valid_until_ts"))
    if valid_until is None:
        raise InvalidKeys("valid_until_ts is missing or no time")
    valid_until = min(valid_until, now + MAX_LIFETIME)
    current = {key_id(key): key for key, _ in _keys(answer.get("verify_keys"))}
    _require_signature(answer, server_name, current)
    keys = _retired(answer.get("old_verify_keys"), now)
    keys |= {name: ServerKey(key, valid_until) for name, key in current.items()}
    if len(keys) > MAX_KEYS:
        raise InvalidKeys(f"the answer has more than {MAX_KEYS} keys")
    return PublishedKeys(server_name, keys, valid_until, answer)


def to_pass_on(published: PublishedKeys) -> bytes:
    """The answer as a notary keeps it: what its server has signed, with its server's signatures alone."""
    said, name = published.said, published.server_name
    made = {key: text for key, text in said["signatures"][name].items() if isinstance(text, str)}
    kept = {key: value for key, value in said.items() if key not in ("signatures", "unsigned")}
    return canonical_json.encode({**kept, "signatures": {name: made}})


def key_id(key: VerifyKey) -> str:
    """Algorithm and version, as in ed25519:a_1."""
    return f"{key.alg}:{key.version}"


def signed_bytes(answer: Mapping[str, Any]) -> bytes:
    """What the signatures of a JSON object are made over [appendices "Signing JSON"]."""
    covered = {name: value for name, value in answer.items() if name not in ("signatures", "unsigned")}
    try:
        return canonical_json.check(covered)
    except canonical_json.NotCanonical as error:
        raise InvalidKeys("the answer is not canonical JSON") from error


def has_signed(answer: Mapping[str, Any], server_name: str, keys: Mapping[str, VerifyKey]) -> bool:
    """Did `server_name` sign with one of the keys at least, and wrongly with none?"""
    made = answer.get("signatures")
    made = made.get(server_name) if isinstance(made, dict) else None
    if not isinstance(made, dict):
        return False
    message = signed_bytes(answer)
    checked = [signature_verifies(message, made[name], key) for name, key in keys.items() if name in made]
    return bool(checked) and all(checked)


def _require_signature(answer: Mapping[str, Any], server_name: str, keys: Mapping[str, VerifyKey]) -> None:
    if not keys:
        raise InvalidKeys("the answer has no current key that can be read")
    if not has_signed(answer, server_name, keys):
        raise InvalidKeys("the answer is not signed with its own current keys")


def _retired(entries: object, now: int) -> dict[str, ServerKey]:
    """Keys of the past; one that claims to have ended in the future is believed like a current one at most."""
    found = {}
    for key, entry in _keys(entries):
        expired = _time(entry.get("expired_ts"))
        if expired is not None:
            found[key_id(key)] = ServerKey(key, min(expired, now + MAX_LIFETIME), retired=True)
    return found


def _keys(entries: object) -> list[tuple[VerifyKey, Mapping[str, Any]]]:
    """Every key that can be read, with its entry; those of other algorithms cannot."""
    if not isinstance(entries, dict):
        return []
    read = [(_key(name, entry), entry) for name, entry in entries.items()]
    return [(key, entry) for key, entry in read if key is not None]


def _key(name: str, entry: object) -> VerifyKey | None:
    text = entry.get("key") if isinstance(entry, dict) else None
    if not is_key_id(name) or not isinstance(text, str):
        return None
    try:
        return decode_verify_key_bytes(name, decode_base64(text))
    except (ValueError, TypeError, CryptoError):
        return None


def _time(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= canonical_json.MAX_INTEGER else None


def _decoded(body: bytes) -> Any:
    try:
        return canonical_json.decode(body)
    except canonical_json.NotCanonical as error:
        raise InvalidKeys("the answer is not canonical JSON") from error
