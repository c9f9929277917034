"""Runs one server as SyTest wants it: `python -m sytest_compat.sytest.launch sytest.json`.

The file is what `plugins/homing` knows of the harness. It becomes a configuration like any operator's, and the server
is started as operators start it; nothing in it knows that it is being tested.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from homeserver.app.main import main as homeserver

SHARED_SECRET = "reg_secret"  # fixed in SyTest's tests


def configuration(told: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Sections and options for what the harness told us."""
    return {
        "server": {
            "name": told["server_name"],
            "listen": told["listen"],
            "public_baseurl": told["public_baseurl"],
            "data": told["folder"],
        },
        "database": {"url": told["database_url"]},
        "registration": {"open": True, "guests": True},
        # Thousands of accounts are made, most with a password.
        "passwords": {"argon2_memory_kib": 64, "argon2_passes": 1, "minimum_length": 1},
        "rate_limits": {"enabled": False},
        # The harness' own federation client knows no version 12; one test wants a `creator`, which 11 dropped.
        "rooms": {"default_version": "10"},
        "federation": {
            "listen": told["federation_listen"],
            "tls_certificate": told["tls_certificate"],
            "tls_key": told["tls_key"],
            "certificate_authorities": told["federation_ca"],
            "allowed_networks": ["127.0.0.0/8", "::1/128"],
        },
    }


def as_toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Strings, numbers, truth values and lists of them are written alike in JSON and in TOML."""
    lines = []
    for name, options in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{option} = {json.dumps(value)}" for option, value in options.items()]
    return "\n".join(lines) + "\n"


def main(told: Mapping[str, Any]) -> None:
    """Take this process over for the server."""
    folder = Path(told["folder"])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "registration_secret").write_text(SHARED_SECRET)
    (folder / "registration_secret").chmod(0o600)
    config = folder / "homeserver.toml"
    config.write_text(as_toml(configuration(told)))
    log = os.open(told["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    homeserver(["run", "--config", str(config)])


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
