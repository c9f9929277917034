"""How a server is set up for a foreign test suite: open, without limits, with cheap passwords. Never for people."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Sections = dict[str, dict[str, Any]]

_FOR_TESTS: Mapping[str, Mapping[str, Any]] = {
    "registration": {"open": True, "guests": True},
    # Thousands of accounts are made, most with a password.
    "passwords": {"argon2_memory_kib": 64, "argon2_passes": 1, "minimum_length": 1},
    "rate_limits": {"enabled": False},
    "experimental": {"expiring_messages": True},
}


def for_tests(special: Mapping[str, Mapping[str, Any]]) -> Sections:
    """Sections of the configuration; what a suite wants specially wins."""
    names = dict.fromkeys((*_FOR_TESTS, *special))
    return {name: {**_FOR_TESTS.get(name, {}), **special.get(name, {})} for name in names}


def as_toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Strings, numbers, truth values and lists of them are written alike in JSON and in TOML; tables are not."""
    lines = []
    for name, options in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{option} = {_value(value)}" for option, value in options.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {_value(one)}' for name, one in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value)


def write_settings(folder: Path, sections: Mapping[str, Mapping[str, Any]], secret: str) -> Path:
    """The configuration and the secret of shared-secret registration, in a data folder; gives the configuration."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "registration_secret").write_text(secret)
    (folder / "registration_secret").chmod(0o600)
    config = folder / "homeserver.toml"
    config.write_text(as_toml(sections))
    return config
