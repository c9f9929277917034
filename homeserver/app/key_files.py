"""The secrets that a server makes for itself at its first start, in files that only it can read."""

import os
import secrets
import string
from collections.abc import Callable
from pathlib import Path

import signedjson.key
from cryptography.hazmat.primitives.asymmetric import ec
from nacl.exceptions import CryptoError
from signedjson.types import SigningKey, VerifyKey
from unpaddedbase64 import decode_base64, encode_base64

from federation.protocol.key_responses import RetiredKey
from homeserver.app.config import Config
from homeserver.services.pushing.vapid import key_of, new_key

SIGNING_KEY = "signing.key"
RETIRED_KEYS = "retired.keys"
VAPID_KEY = "vapid.pem"


class UnusableKeyFile(Exception):
    """A file that should hold a secret cannot be used; the message names it."""


def signing_key(config: Config) -> SigningKey:
    """The key that signs our events and requests; made when there is none. Losing it loses the server's identity."""
    path = config.server.folder / SIGNING_KEY
    text = _read_or_make(path, _new_signing_key)
    try:
        (key,) = signedjson.key.read_signing_keys(text.splitlines())
    except (ValueError, IndexError) as cause:
        raise UnusableKeyFile(f"{path} does not hold one signing key: restore it from a backup") from cause
    return key


def retired_keys(config: Config) -> list[RetiredKey]:
    """The keys we signed with before: events of that time can be checked only while we publish them.

    A line a key: algorithm, version, public key, and when it was retired (ms).
    """
    path = config.server.folder / RETIRED_KEYS
    try:
        return [_retired_key(line) for line in path.read_text().splitlines() if line.strip()]
    except FileNotFoundError:
        return []
    except OSError as cause:
        raise UnusableKeyFile(f"{path} cannot be read: {cause.strerror}") from cause
    except (ValueError, CryptoError) as cause:
        raise UnusableKeyFile(
            f"{path} holds a line that is no retired key: restore it from a backup"
        ) from cause


def rotate_signing_key(config: Config, now: int) -> tuple[SigningKey, SigningKey]:
    """Retire the signing key and make another; gives both. The old one is on record before it is replaced."""
    old, path = signing_key(config), config.server.folder / RETIRED_KEYS
    lines = [_retired_line(key) for key in retired_keys(config) if key.key.version != old.version]
    lines.append(_retired_line(RetiredKey(signedjson.key.get_verify_key(old), now)))
    write_private(path, "".join(lines))
    write_private(config.server.folder / SIGNING_KEY, _new_signing_key())
    return old, signing_key(config)


def _retired_key(line: str) -> RetiredKey:
    algorithm, version, public, expired_ts = line.split()
    key: VerifyKey = signedjson.key.decode_verify_key_bytes(f"{algorithm}:{version}", decode_base64(public))
    return RetiredKey(key, int(expired_ts))


def _retired_line(retired: RetiredKey) -> str:
    key = retired.key
    return f"{key.alg} {key.version} {encode_base64(key.encode())} {retired.expired_ts}\n"


def registration_secret(config: Config) -> str:
    """The secret that lets tools create accounts."""
    path = config.server.folder / config.registration.shared_secret_file
    secret = _read_or_make(path, lambda: secrets.token_urlsafe(32) + "\n").strip()
    if not secret:
        raise UnusableKeyFile(f"{path} is empty: write a secret into it, or remove it and a new one is made")
    return secret


def vapid_key(config: Config) -> ec.EllipticCurvePrivateKey:
    """The key by which web push services know us; made when there is none. Losing it loses apps' subscriptions."""
    path = config.server.folder / VAPID_KEY
    try:
        return key_of(_read_or_make(path, new_key))
    except ValueError as cause:
        raise UnusableKeyFile(f"{path} holds no key for web push: restore it from a backup") from cause


def secret_of(config: Config, name: str) -> str:
    """The secret in a file that the operator names; empty where none is named."""
    if not name:
        return ""
    path = config.server.folder / name
    try:
        return path.read_text().strip()
    except OSError as cause:
        raise UnusableKeyFile(f"{path} cannot be read: {cause.strerror}") from cause


def _new_signing_key() -> str:
    version = "a_" + "".join(secrets.choice(string.ascii_letters) for _ in range(6))
    key = signedjson.key.generate_signing_key(version)
    return f"{key.alg} {key.version} {signedjson.key.encode_signing_key_base64(key)}\n"


def _read_or_make(path: Path, make: Callable[[], str]) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        write_private(path, make())
        return path.read_text()
    except OSError as cause:
        raise UnusableKeyFile(f"{path} cannot be read: {cause.strerror}") from cause


def write_private(path: Path, text: str) -> None:
    """A file for our eyes only; whole on the disk before it has its name."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
