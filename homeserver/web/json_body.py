"""A request's bytes become a JSON object, or the specified error [cs "Standard error response"]."""

from typing import Any

import orjson

from homeserver.core.errors import bad_json, not_json

# Our encoder stops at 254 levels; an answer wraps what was sent in some ten more.
MAX_DEPTH = 200


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
    """Counting brackets is almost free, and no value is deeper than it has brackets."""
    return raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH


def _is_deep(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        # Of 10,000 sessions in a body there are as many objects: one pass a level, without calls.
        level = [
            child
            for inside in level
            for child in (inside.values() if type(inside) is dict else inside)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True
