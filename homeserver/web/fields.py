"""Typed access to JSON objects that a client sent: the value, or the specified error.

An accessor checks what storage relies on too: strings without NUL (PostgreSQL's text cannot hold it) and
integers that canonical JSON can carry. null counts as absent where a field is optional.
"""

from collections.abc import Mapping
from typing import Any, TypeVar, overload

from homeserver.core.errors import bad_json, missing_param

T = TypeVar("T", str, int, bool, float, dict[str, Any], list[Any])
D = TypeVar("D")

MAX_INTEGER = 2**53 - 1  # [appendices "Canonical JSON"]

_NAMES = {
    str: "a string",
    int: "an integer",
    bool: "a boolean",
    float: "a number",
    dict: "an object",
    list: "a list",
}


def required(values: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """`values[name]`, or M_MISSING_PARAM if it is absent, M_BAD_JSON if it is no `kind`."""
    if name not in values:
        raise missing_param(name)
    return _checked(values[name], name, kind)


@overload
def optional(values: Mapping[str, Any], name: str, kind: type[T]) -> T | None: ...
@overload
def optional(values: Mapping[str, Any], name: str, kind: type[T], default: D) -> T | D: ...
def optional(values: Mapping[str, Any], name: str, kind: type[T], default: Any = None) -> Any:
    """`values[name]`, or `default` if it is absent or null; M_BAD_JSON if it is no `kind`."""
    value = values.get(name)
    return default if value is None else _checked(value, name, kind)


def strings(values: Mapping[str, Any], name: str) -> list[str]:
    """A list of strings; empty if absent or null."""
    found: list[Any] = optional(values, name, list, [])
    return [_checked(item, f"{name}[{number}]", str) for number, item in enumerate(found)]


def objects(values: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects; empty if absent or null."""
    found: list[Any] = optional(values, name, list, [])
    return [_checked(item, f"{name}[{number}]", dict) for number, item in enumerate(found)]


def _checked(value: Any, name: str, kind: type[T]) -> T:
    fits = type(value) is kind or (kind is float and type(value) is int)  # JSON's true is no integer
    if not fits:
        raise bad_json(f"{name} must be {_NAMES[kind]}")
    if kind is str and "\0" in value:
        raise bad_json(f"{name} must not contain the character U+0000")
    if kind is int and not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise bad_json(f"{name} is out of range")
    return value  # type: ignore[no-any-return]
