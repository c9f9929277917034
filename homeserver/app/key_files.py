"""The secrets that a server makes for itself at its first start, in files that only it can read."""

import os
import secrets
import string
from collections.abc import Callable
from pathlib import Path

import signedjson.key
from signedjson.types import SigningKey

from homeserver.app.config import Config

SIGNING_KEY = "signing.key"


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


def registration_secret(config: Config) -> str:
    """The secret that lets tools create accounts."""
    path = config.server.folder / config.registration.shared_secret_file
    secret = _read_or_make(path, lambda: secrets.token_urlsafe(32) + "\n").strip()
    if not secret:
        raise UnusableKeyFile(f"{path} is empty: write a secret into it, or remove it and a new one is made")
    return secret


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
