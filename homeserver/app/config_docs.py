"""Writes the sample file and docs/config.md from the definition of the configuration."""

import json
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import attrs

from homeserver.app.config import Config

_HEAD = """\
# The configuration of Homing: every option with its default.
# Keep the lines that you change; what is missing has the default. `homeserver config check FILE` looks it over.
# Made by `homeserver config sample`.
"""


def sample() -> str:
    """A file with every option, commented out at its default."""
    parts = [_HEAD]
    for section in attrs.fields(Config):
        parts.append(f"\n# {section.metadata['doc']}\n[{section.name}]\n")
        parts += _sample_options(section.type, section.name)
    return "".join(parts)


def _sample_options(kind: Any, path: str) -> Iterator[str]:
    hints = get_type_hints(kind)
    for option in attrs.fields(kind):
        yield f"\n# {option.metadata['doc']}{_choice(hints[option.name])}\n"
        (inner,) = _tables(hints[option.name]) or (None,)
        if inner is not None:
            keys = "\n".join(f"# {name} = {_toml(value)}" for name, value in attrs.asdict(inner()).items())
            yield f"# [[{path}.{option.name}]]\n{keys}\n"
        else:
            yield f"# {option.name} = {_toml(_default(option))}\n"


def page() -> str:
    """docs/config.md."""
    parts = [
        "# Configuration\n\n",
        "Generated from `homeserver/app/config.py` by `make docs`. A TOML file, given with `--config FILE`, or ",
        "`homeserver.toml` in the data folder; the command line wins over it. ",
        "`homeserver config sample` prints a file with every option, ",
        "`homeserver config check FILE` tells all that is wrong with one.\n",
    ]
    for section in attrs.fields(Config):
        parts.append(f"\n## `[{section.name}]`\n\n{section.metadata['doc']}\n\n")
        parts.append("| option | type | default | meaning |\n| --- | --- | --- | --- |\n")
        parts += _rows(section.type, "")
    return "".join(parts)


def _rows(kind: Any, path: str) -> Iterator[str]:
    hints = get_type_hints(kind)
    for option in attrs.fields(kind):
        hint, default = hints[option.name], _toml(_default(option))
        yield f"| `{path}{option.name}` | {_type_name(hint)} | `{default}` | {option.metadata['doc']} |\n"
        for inner in _tables(hint):
            yield from _rows(inner, f"{path}{option.name}[].")


def _tables(hint: Any) -> list[Any]:
    """The class of the tables that a list consists of, if it does."""
    return [inner for inner in get_args(hint) if get_origin(hint) is list and attrs.has(inner)]


def _default(option: "attrs.Attribute[Any]") -> Any:
    default: Any = option.default
    return default.factory() if hasattr(default, "factory") else default


def _toml(value: Any) -> str:
    if attrs.has(type(value)):
        return (
            "{ " + ", ".join(f"{name} = {_toml(part)}" for name, part in attrs.asdict(value).items()) + " }"
        )
    return json.dumps(value)


def _choice(hint: Any) -> str:
    return f" One of {', '.join(get_args(hint))}." if get_origin(hint) is Literal else ""


def _type_name(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(f"`{choice}`" for choice in get_args(hint))
    if get_origin(hint) is list:
        return "list of tables" if _tables(hint) else "list of strings"
    if attrs.has(hint):
        return "table"
    return {str: "string", int: "integer", float: "number", bool: "boolean"}[hint]
