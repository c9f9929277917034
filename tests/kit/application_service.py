"""A small application service that the server talks to, and registrations of such ones."""

from collections.abc import Iterable
from typing import Any


def registration_of(
    name: str, *, users: Iterable[str] = (), aliases: Iterable[str] = (), url: str | None = None, **more: Any
) -> dict[str, Any]:
    """What its registration file holds; all namespaces are its own alone."""
    return {
        "id": name,
        "url": url,
        "as_token": f"as_token_of_{name}",
        "hs_token": f"hs_token_of_{name}",
        "sender_localpart": f"{name}_sender",
        "namespaces": {
            "users": [{"exclusive": True, "regex": regex} for regex in users],
            "aliases": [{"exclusive": True, "regex": regex} for regex in aliases],
            "rooms": [],
        },
        **more,
    }
