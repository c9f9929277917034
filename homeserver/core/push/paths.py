"""Where in an event a push condition looks [appendices "Dot-separated property paths"]."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from attrs import frozen


@frozen
class Absent:
    """What is found where there is nothing; null is something."""


ABSENT: Final = Absent()
_CACHED = 4096
_LONGEST_CACHED = 256


def path_of(key: str) -> tuple[str, ...]:
    """The property names that a path joins by dots. Only dots and backslashes can be escaped."""
    return _cached(key) if len(key) <= _LONGEST_CACHED else _split(key)


def value_at(event: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """What stands there; ABSENT where nothing does. Paths do not lead into arrays."""
    value: Any = event
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return ABSENT
        value = value[name]
    return value


def _split(key: str) -> tuple[str, ...]:
    parts, escaped = [""], False
    for letter in key:
        if escaped:
            parts[-1] += letter if letter in "\\." else "\\" + letter
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter == ".":
            parts.append("")
        else:
            parts[-1] += letter
    if escaped:
        parts[-1] += "\\"
    return tuple(parts)


_cached = lru_cache(maxsize=_CACHED)(_split)
