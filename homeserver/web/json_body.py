"""A request's bytes become a JSON object, or the specified error [cs "Standard error response"]."""

from typing import Any

import orjson

from homeserver.core.errors import bad_json, not_json

ENCODED_DEPTH = 254  # where our encoder stops; an answer wraps what was sent in some ten more levels
MAX_DEPTH = 200
COUNTED = 32 * 1024  # bytes; of more the encoder is faster


def parse_object(raw: bytes) -> dict[str, Any]:
    """Parse strictly: UTF-8, no NaN, no lone surrogates; the last of duplicate keys wins."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise not_json() from error
    if type(value) is not dict:
        raise bad_json("The request body must be a JSON object")
    if not _surely_shallow(raw) and _is_deep(value):
        raise bad_json(f"The request body is nested deeper than {MAX_DEPTH} levels")
    return value


def _surely_shallow(raw: bytes) -> bool:
    """No value is deeper than it has brackets: to count them costs least where there are few."""
    return len(raw) < COUNTED and raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH


def _is_deep(value: Any) -> bool:
    """The encoder knows: it counts levels at the speed of a copy, far faster than a walk through all objects."""
    for _ in range(ENCODED_DEPTH - MAX_DEPTH):
        value = [value]
    try:
        orjson.dumps(value)
    except TypeError:
        return True
    return False
