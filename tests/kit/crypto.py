"""A client's keys: real Ed25519 signatures, made as clients make them, without their ratchets."""

import itertools
from copy import deepcopy
from typing import Any

from attrs import define, field
from signedjson.key import encode_verify_key_base64, generate_signing_key, get_verify_key
from signedjson.sign import sign_json
from signedjson.types import SigningKey

_numbers = itertools.count(1)


def signing_key(version: str) -> SigningKey:
    """A key whose id is ed25519:<version>."""
    return generate_signing_key(version)


def public(key: SigningKey) -> str:
    """Unpadded base64 of the public half."""
    return encode_verify_key_base64(get_verify_key(key))


@define
class DeviceCrypto:
    """What one device signs with."""

    user_id: str
    device_id: str
    key: SigningKey = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.key = signing_key(self.device_id)

    @property
    def fingerprint(self) -> str:
        """The device's Ed25519 key."""
        return public(self.key)

    def signed(self, value: dict[str, Any]) -> dict[str, Any]:
        """`value` with the device's signature."""
        return sign_json(deepcopy(value), self.user_id, self.key)

    def device_keys(self, **more: Any) -> dict[str, Any]:
        """The device's identity."""
        return self.signed(
            {
                "user_id": self.user_id,
                "device_id": self.device_id,
                "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
                "keys": {
                    f"curve25519:{self.device_id}": f"curve{self.device_id}",
                    f"ed25519:{self.device_id}": self.fingerprint,
                },
                **more,
            }
        )

    def one_time_keys(self, count: int, *, fallback: bool = False) -> dict[str, Any]:
        """Fresh keys that are named in order."""
        found = {}
        for _ in range(count):
            number = next(_numbers)
            value = {"key": f"key{number}"} | ({"fallback": True} if fallback else {})
            found[f"signed_curve25519:K{number:06}"] = self.signed(value)
        return found


@define
class UserCrypto:
    """A user's cross-signing keys."""

    user_id: str
    master: SigningKey = field(init=False)
    self_signing: SigningKey = field(init=False)
    user_signing: SigningKey = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.master, self.self_signing, self.user_signing = (cross_key() for _ in range(3))

    def upload(self) -> dict[str, Any]:
        """The body of /keys/device_signing/upload."""
        return {
            "master_key": self.published("master", self.master),
            "self_signing_key": self.signed(self.published("self_signing", self.self_signing), self.master),
            "user_signing_key": self.signed(self.published("user_signing", self.user_signing), self.master),
        }

    def published(self, usage: str, key: SigningKey) -> dict[str, Any]:
        """One key, not signed yet."""
        return {
            "user_id": self.user_id,
            "usage": [usage],
            "keys": {f"ed25519:{public(key)}": public(key)},
        }

    def signed(self, value: dict[str, Any], key: SigningKey) -> dict[str, Any]:
        """`value` with this signature added."""
        return sign_json(deepcopy(value), self.user_id, key)


def cross_key() -> SigningKey:
    """A key that is named after itself."""
    key = generate_signing_key("x")
    key.version = public(key)
    return key
