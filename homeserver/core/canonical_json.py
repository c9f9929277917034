"""Canonical JSON: the one text of a value, over which hashes and signatures are made.

Two speeds, one result. `encode` is orjson with sorted keys: for strict canonical JSON (no floats, integers
within ±(2^53-1)) its bytes are canonicaljson's, which a property test holds; UTF-8 byte order is code point
order, which is what the specification asks. Rooms of versions 1 to 5 may hold floats and huge integers
[rooms/v6 "Canonical JSON"]; for them `encode_lenient` asks canonicaljson itself.
"""

from collections.abc import Collection
from typing import Any

import canonicaljson
import msgspec
import orjson

_OPTIONS = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_STRICT_INTEGER  # ±(2^53-1) [appendices "Canonical JSON"]
    | orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
)

MAX_INTEGER = 2**53 - 1

Unparsed = msgspec.Raw  # a JSON value of which nobody knows more than where it begins and ends


class NotCanonical(ValueError):
    """The value has no strict canonical form; the message says what is wrong with it."""


def encode(value: Any) -> bytes:
    """Strict canonical bytes of a value that is known to hold no float (see `decode`, `check`).

    Raises NotCanonical for integers out of range, non-string keys, lone surrogates and foreign types.
    """
    try:
        return snug(orjson.dumps(value, option=_OPTIONS))
    except TypeError as error:
        raise NotCanonical(str(error)) from error


def snug(text: bytes) -> bytes:
    """A copy for keeping: orjson leaves the space that it did not need, some four kilobytes, behind each text."""
    return bytes(memoryview(text))


def encode_lenient(value: Any) -> bytes:
    """Canonical bytes with floats and any integers, for room versions 1 to 5."""
    try:
        return canonicaljson.encode_canonical_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotCanonical(str(error)) from error


def decode(text: bytes | Unparsed) -> Any:
    """Parse strictly: no float, no exponent, integers within range; for room version 6 and later."""
    return normalized(text)[0]


def normalized(text: bytes | Unparsed) -> tuple[Any, bytes]:
    """`decode`, and the canonical bytes of what is found."""
    try:
        value = _STRICT.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise NotCanonical(str(error)) from error
    return value, encode(value)  # which sees integers out of range; cheaper than walking the tree


def split(text: bytes, arrays: Collection[str]) -> dict[str, Any]:
    """An object, parsed leniently, but the elements of these of its arrays left unparsed: some 2 GB a second.

    What is wrong within the strings of an element is found when that is parsed.
    """
    try:
        members = _MEMBERS.decode(text).items()
        return {
            name: (_ELEMENTS if name in arrays and _is_array(member) else _LENIENT).decode(member)
            for name, member in members
        }
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise NotCanonical(str(error)) from error


def _is_array(text: Unparsed) -> bool:
    return bytes(memoryview(text)[:1]) == b"["


def decode_lenient(text: bytes | Unparsed) -> Any:
    """Parse with floats and integers of any size kept exactly, for room versions 1 to 5."""
    try:
        return _LENIENT.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise NotCanonical(str(error)) from error


def check(value: Any) -> bytes:
    """The bytes of `value`, whoever made it; raises NotCanonical unless it is strict canonical JSON."""
    text = encode(value)
    try:
        _STRICT.decode(text)  # refuses floats, and is ten times as fast as walking
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise NotCanonical("floating point numbers are not allowed") from error
    if b"null" in text:  # as which infinity is written
        _refuse_floats(value)
    return text


def _refuse_floats(value: Any) -> None:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, float):
            raise NotCanonical("floating point numbers are not allowed")


def _no_float(text: str) -> Any:
    raise NotCanonical(f"{text[:32]} is not an integer")


_STRICT = msgspec.json.Decoder(float_hook=_no_float)
_LENIENT = msgspec.json.Decoder()
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
