"""Reads a TOML file into a `Config`, and tells every fault of it at once."""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import attrs

from homeserver.app.config import Config

T = TypeVar("T", bound=attrs.AttrsInstance)
_NAMES = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


class ConfigFaults(Exception):
    """What is wrong with a configuration, one line a fault, each with the path of its option."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def read_config(path: Path) -> Config:
    """The configuration in a file."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as cause:
        raise ConfigFaults([f"{path} cannot be read: {cause.strerror}"]) from cause
    except UnicodeDecodeError as cause:
        raise ConfigFaults([f"{path} is not UTF-8"]) from cause
    return parse_config(text)


def parse_config(text: str) -> Config:
    """The configuration in a TOML text."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as cause:
        raise ConfigFaults([f"not TOML: {cause}"]) from cause
    return build_config(tree)


def build_config(tree: Mapping[str, Any]) -> Config:
    """The configuration in a tree of tables."""
    faults: list[str] = []
    config = _table(Config(), tree, "", faults)
    if faults:
        raise ConfigFaults(faults)
    return config


def _table(defaults: T, tree: Mapping[str, Any], path: str, faults: list[str]) -> T:
    """One section. What is missing or faulty keeps its default, so that the rest can be looked at too."""
    fields: dict[str, attrs.Attribute[Any]] = {known.name: known for known in attrs.fields(type(defaults))}
    hints = get_type_hints(type(defaults))
    values = {}
    for name, value in tree.items():
        if name not in fields:
            faults.append(f"{path}{name}: no such option{_suggestion(name, list(fields))}")
            continue
        before = len(faults)
        made = _value(hints[name], value, f"{path}{name}", faults, defaults=getattr(defaults, name))
        check = fields[name].metadata["check"]
        if len(faults) == before and check and (complaint := check(made)):
            faults.append(f"{path}{name}: {complaint}, and is {value!r}")
        if len(faults) == before:
            values[name] = made
    return cast(T, attrs.evolve(cast(Any, defaults), **values))


def _value(hint: Any, value: Any, path: str, faults: list[str], *, defaults: Any) -> Any:
    if attrs.has(hint):
        if isinstance(value, dict):
            return _table(defaults, value, f"{path}.", faults)
        faults.append(f"{path}: must be a table, and is {value!r}")
    elif get_origin(hint) is list:
        return _list(hint, value, path, faults)
    elif get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        faults.append(f"{path}: must be one of {', '.join(map(repr, get_args(hint)))}, and is {value!r}")
    elif hint is float and type(value) is int:
        return float(value)
    elif type(value) is hint:  # exactly: true is not 1
        return value
    else:
        faults.append(f"{path}: must be {_NAMES[hint]}, and is {value!r}")
    return None


def _list(hint: Any, value: Any, path: str, faults: list[str]) -> list[Any]:
    if not isinstance(value, list):
        faults.append(f"{path}: must be a list, and is {value!r}")
        return []
    (inner,) = get_args(hint)
    return [
        _value(inner, item, f"{path}[{place}]", faults, defaults=_empty(inner))
        for place, item in enumerate(value)
    ]


def _empty(hint: Any) -> Any:
    return hint() if attrs.has(hint) else None


def _suggestion(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"
