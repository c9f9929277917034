"""E-mail addresses as they are compared and written to."""

import re

MAX = 254  # characters [RFC 5321 4.5.3.1.3, with the brackets]
_ADDRESS = re.compile(r"[^\s\x00-\x20\x7f@<>()\[\],;:\"\\]{1,64}@[^\s\x00-\x20\x7f@<>()\[\],;:\"\\]{1,253}")
_SECRET = re.compile(r"[0-9a-zA-Z.=_-]{1,255}", re.ASCII)


def canonical_email(text: str) -> str | None:
    """The one form of an address [cs "Adding Account Administrative Contact Information"]; None: it is none.

    Quoted local parts and addresses of machines are valid, and nobody's.
    """
    if len(text) > MAX or _ADDRESS.fullmatch(text) is None or "." not in text.partition("@")[2]:
        return None
    folded = text.casefold()
    return folded if _ADDRESS.fullmatch(folded) and len(folded) <= MAX else None


def is_client_secret(text: str) -> bool:
    """Is it of the characters that ids of sessions and secrets of clients have?"""
    return _SECRET.fullmatch(text) is not None
