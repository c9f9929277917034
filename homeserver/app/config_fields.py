"""How an option is written down: its default, its meaning, and what a good value is."""

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import Factory, field

T = TypeVar("T")
Check = Callable[[Any], str | None]


def option(default: T, doc: str, check: Check | None = None) -> T:
    """An option with its default. `check` says what is wrong with a value, or nothing."""
    made: T = field(default=default, metadata={"doc": doc, "check": check})
    return made


def texts(doc: str, check: Check | None = None) -> list[str]:
    """An option that is a list of strings, empty where nothing is said."""
    made: list[str] = field(default=Factory(list), metadata={"doc": doc, "check": check})
    return made


def section(kind: type[T], doc: str) -> T:
    """A table of options."""
    made: T = field(factory=kind, metadata={"doc": doc, "check": None})
    return made
