"""Values in the body of a sliding sync request: read with the errors that tell what is wrong."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from homeserver.core.errors import bad_json, invalid_param

MAX_PATTERNS = 200  # of one `required_state`, and entries of any other list
MAX_NUMBER = 2**53 - 1

T = TypeVar("T", str, int, bool, dict[str, Any], list[Any])
_NAMES = {str: "a string", int: "an integer", bool: "a boolean", dict: "an object", list: "a list"}


def get(value: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    """The value of this kind, if there is one. Raises M_BAD_JSON."""
    found = value.get(name)
    if found is not None and type(found) is not kind:
        raise bad_json(f"{name} must be {_NAMES[kind]}")
    if isinstance(found, str):
        clean(found, name)
    return found


def clean(text: str, name: str) -> str:
    """The text, in which U+0000 is not allowed."""
    if "\x00" in text:
        raise bad_json(f"{name} must not contain the character U+0000")
    return text


def as_object(value: Any, name: str) -> Mapping[str, Any]:
    """The value, which must be an object."""
    if not isinstance(value, dict):
        raise bad_json(f"{name} must be an object")
    return value


def strings(value: Mapping[str, Any], name: str, *, empty: bool = False) -> list[Any] | None:
    """A list of strings; `empty`: null may stand among them."""
    found = get(value, name, list)
    if found is not None:
        bounded(found, name)
        if not all(isinstance(item, str) or (empty and item is None) for item in found):
            raise bad_json(f"{name} must be a list of strings")
        for item in found:
            clean(item or "", name)
    return found


def bounded(found: list[Any], name: str) -> None:
    """Raise M_INVALID_PARAM for a list that is too long."""
    if len(found) > MAX_PATTERNS:
        raise invalid_param(f"{name} may have {MAX_PATTERNS} entries at most")


def within(number: int, name: str, most: int) -> int:
    """The number, or the largest that is heeded."""
    if not 0 <= number <= MAX_NUMBER:
        raise invalid_param(f"{name} must not be negative")
    return min(number, most)


def names(given: Iterable[str | None] | None) -> object:
    """Some names, written out the same each time."""
    return None if given is None else sorted(given, key=lambda name: (name is not None, name or ""))
