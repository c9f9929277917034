"""A Synapse from the package index in an environment of its own, and its configuration."""

import sys
from pathlib import Path

import orjson
from attrs import frozen

from benchmarks.connection import Address
from benchmarks.postgres import USER, Cluster
from benchmarks.processes import Argument, CommandFailed, run_to_end

VERSION = "1.163.2"

_FREELY = {"per_second": 1_000_000, "burst_count": 1_000_000}

_SIMPLE_LIMITS = (
    "rc_admin_redaction",
    "rc_delayed_event_mgmt",
    "rc_joins_per_room",
    "rc_key_requests",
    "rc_media_create",
    "rc_message",
    "rc_profile",
    "rc_registration",
    "rc_reports",
    "rc_room_creation",
    "rc_third_party_invite",
    "rc_user_directory",
)

# Every limit that Synapse has: a forgotten one would measure the limit.
RATE_LIMITS: dict[str, object] = {
    "rc_login": {"address": _FREELY, "account": _FREELY, "failed_attempts": _FREELY},
    "rc_joins": {"local": _FREELY, "remote": _FREELY},
    "rc_invites": {"per_room": _FREELY, "per_user": _FREELY, "per_issuer": _FREELY},
    "rc_presence": {"per_user": _FREELY},
    **dict.fromkeys(_SIMPLE_LIMITS, _FREELY),
}


@frozen
class Synapse:
    """An installed Synapse."""

    python: Path
    version: str

    def write_config(self, folder: Path, address: Address, cluster: Cluster, authorities: Path) -> Path:
        """The configuration; JSON is YAML."""
        log = {"version": 1, "root": {"level": "WARNING"}, "disable_existing_loggers": False}
        _write(folder / "log.yaml", log)
        config = {**_config(folder, address, cluster), **_federation(authorities)}
        return _write(folder / "synapse.yaml", config)

    async def make_keys(self, config: Path) -> None:
        command: list[Argument] = [
            self.python,
            "-m",
            "synapse.app.homeserver",
            "-c",
            config,
            "--generate-keys",
        ]
        await run_to_end(command)


def installed(cache: Path, version: str) -> Synapse | None:
    """The Synapse with everything that `install` has put there."""
    folder = cache / f"synapse-{version}"
    return Synapse(folder / "bin" / "python", version) if (folder / "installed").exists() else None


async def install(cache: Path, version: str) -> Synapse:
    """Synapse in `cache`, installed the first time."""
    folder = cache / f"synapse-{version}"
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.exists():
        await run_to_end([sys.executable, "-m", "venv", "--clear", folder])
        try:
            await run_to_end([python, "-m", "pip", "install", "-q", f"matrix-synapse[postgres]=={version}"])
        except CommandFailed as failure:
            remedy = "Its database driver is built from source: that needs a C compiler and libpq's headers."
            raise CommandFailed(
                f"{failure}\n{remedy} (Debian: apt-get install gcc python3-dev libpq-dev)"
            ) from failure
        done.touch()
    return Synapse(python, version)


def _config(folder: Path, address: Address, cluster: Cluster) -> dict[str, object]:
    return {
        "server_name": f"localhost:{address.port}",
        "pid_file": str(folder / "synapse.pid"),
        "listeners": [_listener(address)],
        "database": {"name": "psycopg2", "args": _database(cluster)},
        "log_config": str(folder / "log.yaml"),
        "media_store_path": str(folder / "media"),
        "signing_key_path": str(folder / "signing.key"),
        "macaroon_secret_key": "only for a benchmark",
        "form_secret": "only for a benchmark",
        "report_stats": False,
        "trusted_key_servers": [],
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "bcrypt_rounds": 4,
        **RATE_LIMITS,
    }


def _federation(authorities: Path) -> dict[str, object]:
    """Over loopback, without the pauses by which it slows busy servers down."""
    return {
        "federation_custom_ca_list": [str(authorities)],
        "ip_range_blacklist": [],
        "rc_federation": {
            "window_size": 1000,
            "sleep_limit": 1_000_000,
            "sleep_delay": 0,
            "reject_limit": 1_000_000,
            "concurrent": 1000,
        },
    }


def _listener(address: Address) -> dict[str, object]:
    resources = [{"names": ["client", "federation"], "compress": False}]
    return {"port": address.port, "bind_addresses": [address.host], "type": "http", "resources": resources}


def _database(cluster: Cluster) -> dict[str, object]:
    return {
        "user": USER,
        "dbname": cluster.database,
        "host": str(cluster.socket_folder),
        "cp_min": 5,
        "cp_max": 10,
    }


def _write(path: Path, content: dict[str, object]) -> Path:
    path.write_bytes(orjson.dumps(content))
    return path
