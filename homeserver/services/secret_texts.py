"""Texts that nobody can guess, and the hashes of them that we keep."""

import hashlib
import secrets
import string

_LETTERS = string.ascii_uppercase


def new_token(kind: str) -> str:
    """A token; `kind` tells people who find one what it is."""
    return f"{kind}_{secrets.token_urlsafe(32)}"


def new_device_id() -> str:
    """Ten letters: people compare them."""
    return "".join(secrets.choice(_LETTERS) for _ in range(10))


def hash_token(token: str) -> bytes:
    """What is stored of a token. Tokens are random, so a fast hash is enough."""
    return hashlib.sha256(token.encode()).digest()
