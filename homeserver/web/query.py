"""Typed access to the query string: the value, or the specified error.

Each accessor comes in two forms: without a default the parameter is required (M_MISSING_PARAM); with one, the
default stands for its absence. A value that cannot be read is M_INVALID_PARAM.
"""

import re
from collections.abc import Collection
from typing import Any, TypeVar, overload
from urllib.parse import parse_qsl

from homeserver.core.errors import invalid_param, missing_param
from homeserver.web.fields import MAX_INTEGER

D = TypeVar("D")

MAX_PARAMETERS = 1000
_REQUIRED: Any = object()
_INTEGER = re.compile(r"-?[0-9]{1,16}")


class Query:
    """The parameters of one request. The first value counts, unless a list is asked for."""

    __slots__ = ("_values",)

    def __init__(self, raw: str) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in _pairs(raw):
            self._values.setdefault(name, []).append(value)

    def pairs(self) -> dict[str, str]:
        """All parameters, for who hands them on."""
        return {name: values[0] for name, values in self._values.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._values

    @overload
    def string(self, name: str) -> str: ...
    @overload
    def string(self, name: str, default: D) -> str | D: ...
    def string(self, name: str, default: Any = _REQUIRED) -> Any:
        """The value as it is."""
        values = self._values.get(name)
        if values is not None:
            return values[0]
        if default is _REQUIRED:
            raise missing_param(name)
        return default

    @overload
    def integer(self, name: str, *, least: int = ...) -> int: ...
    @overload
    def integer(self, name: str, default: D, *, least: int = ...) -> int | D: ...
    def integer(self, name: str, default: Any = _REQUIRED, *, least: int = -MAX_INTEGER) -> Any:
        """A whole number of at least `least`."""
        text = self.string(name, None)
        if text is None:
            return self.string(name, default)
        if not _INTEGER.fullmatch(text) or abs(number := int(text)) > MAX_INTEGER:
            raise invalid_param(f"{name} must be an integer")
        if number < least:
            raise invalid_param(f"{name} must be at least {least}")
        return number

    @overload
    def boolean(self, name: str) -> bool: ...
    @overload
    def boolean(self, name: str, default: D) -> bool | D: ...
    def boolean(self, name: str, default: Any = _REQUIRED) -> Any:
        """The words true and false."""
        text = self.string(name, default)
        if text is default:
            return default
        if text not in ("true", "false"):
            raise invalid_param(f"{name} must be true or false")
        return text == "true"

    @overload
    def choice(self, name: str, allowed: Collection[str]) -> str: ...
    @overload
    def choice(self, name: str, allowed: Collection[str], default: D) -> str | D: ...
    def choice(self, name: str, allowed: Collection[str], default: Any = _REQUIRED) -> Any:
        """One of the words in `allowed`."""
        text = self.string(name, default)
        if text is not default and text not in allowed:
            raise invalid_param(f"{name} must be one of: {', '.join(allowed)}")
        return text

    def strings(self, name: str) -> list[str]:
        """Every value of a parameter that may be repeated, in order; empty if absent."""
        return list(self._values.get(name, ()))

    def all(self) -> dict[str, str]:
        """Every parameter that was given."""
        return {name: values[0] for name, values in self._values.items()}


def _pairs(raw: str) -> list[tuple[str, str]]:
    if not raw:
        return []
    if "%00" in raw:  # PostgreSQL's text cannot hold it, and no parameter needs it
        raise invalid_param("The query must not contain the character U+0000")
    try:
        return parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except UnicodeError as error:
        raise invalid_param("The query is not valid UTF-8") from error
    except ValueError as error:
        raise invalid_param("The query has too many parameters") from error
