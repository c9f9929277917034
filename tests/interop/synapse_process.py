"""A Synapse from the package index as a process, on SQLite, that federates over loopback."""

import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from attrs import define, field

from benchmarks.synapse import RATE_LIMITS, VERSION, installed
from tests.kit.loopback import Authority, free_name, free_port

ROOT = Path(__file__).parent.parent.parent
CACHE = ROOT / ".bench"
INSTALL_SECONDS = 600
READY_SECONDS = 90
STOP_SECONDS = 30


def synapse_python() -> Path:
    """The interpreter that has Synapse: the benchmarks' one, or one without PostgreSQL made the first time.

    Skips where it cannot be installed, except under CI.
    """
    full = installed(CACHE, VERSION)
    if full is not None:
        return full.python
    folder = CACHE / f"synapse-{VERSION}-sqlite"
    python, done = folder / "bin" / "python", folder / "installed"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "synapse.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker of the test run may be at it
        if not done.exists():
            _install(folder, python)
            done.touch()
    return python


def _install(folder: Path, python: Path) -> None:
    try:
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(python), "-m", "pip", "install", "-q", f"matrix-synapse=={VERSION}"])
    except (AssertionError, subprocess.SubprocessError) as cause:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no Synapse to test with: {cause}")


@define(eq=False)
class SynapseProcess:
    """May be started, stopped and killed again and again; it keeps its folder."""

    folder: Path
    authority: Authority
    name: str = field(factory=free_name)
    port: int = field(factory=lambda: free_port("127.0.0.1"))
    process: subprocess.Popen | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "synapse.log"

    def start(self) -> None:
        """Returns when it serves: it tells so as it would tell systemd."""
        python, config = synapse_python(), self._write_config()
        program = [str(python), "-m", "synapse.app.homeserver", "-c", str(config)]
        if not (self.folder / "signing.key").exists():
            _run([*program, "--generate-keys"])
        notices = self.folder / "notices"
        notices.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, self.log.open("ab") as log:
            ready.bind(str(notices))
            ready.settimeout(READY_SECONDS)
            environment = {**os.environ, "NOTIFY_SOCKET": str(notices)}
            self.process = subprocess.Popen(program, stdout=log, stderr=log, cwd=self.folder, env=environment)
            try:
                while b"READY=1" not in ready.recv(4096):
                    pass
            except TimeoutError:
                self.kill()
                raise AssertionError(self.log.read_text()[-3000:]) from None

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(STOP_SECONDS)
            self.process = None

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_SECONDS)
        self.process = None

    def complaints(self) -> list[str]:
        """What its log says of us that it should not have to."""
        return []

    def _write_config(self) -> Path:
        """JSON is YAML."""
        logging = {
            "version": 1,
            "formatters": {"line": {"format": "%(asctime)s %(name)s %(levelname)s %(message)s"}},
            "handlers": {"err": {"class": "logging.StreamHandler", "formatter": "line"}},
            "root": {"level": "INFO", "handlers": ["err"]},
            "disable_existing_loggers": False,
        }
        (self.folder / "log.yaml").write_bytes(orjson.dumps(logging))
        path = self.folder / "synapse.yaml"
        path.write_bytes(orjson.dumps(self._config()))
        return path

    def _config(self) -> dict[str, object]:
        certificate, key = self.authority.files(self.name)
        host, _, port = self.name.rpartition(":")
        freely = {"window_size": 1000, "sleep_limit": 100_000, "sleep_delay": 0}
        return {
            "server_name": self.name,
            "pid_file": str(self.folder / "synapse.pid"),
            "listeners": [
                _listener("127.0.0.1", self.port, "client", tls=False),
                _listener(host, int(port), "federation", tls=True),
            ],
            "tls_certificate_path": str(certificate),
            "tls_private_key_path": str(key),
            "federation_custom_ca_list": [str(self.authority.path)],
            "ip_range_blacklist": [],
            "database": {"name": "sqlite3", "args": {"database": str(self.folder / "synapse.db")}},
            "log_config": str(self.folder / "log.yaml"),
            "media_store_path": str(self.folder / "media"),
            "signing_key_path": str(self.folder / "signing.key"),
            "macaroon_secret_key": "only for tests",
            "form_secret": "only for tests",
            "report_stats": False,
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "enable_registration": True,
            "enable_registration_without_verification": True,
            "allow_public_rooms_over_federation": True,
            "room_list_publication_rules": [{"action": "allow"}],
            "bcrypt_rounds": 4,
            # A stopped peer is asked again as soon as it is back.
            "federation": {
                "destination_min_retry_interval": "1s",
                "destination_max_retry_interval": "2s",
                "max_long_retries": 1,
                "max_short_retries": 1,
            },
            **RATE_LIMITS,
            "rc_federation": {**freely, "reject_limit": 100_000, "concurrent": 100},
        }


def _listener(host: str, port: int, resource: str, *, tls: bool) -> dict[str, object]:
    resources = [{"names": [resource], "compress": False}]
    return {"port": port, "bind_addresses": [host], "type": "http", "tls": tls, "resources": resources}


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    assert done.returncode == 0, f"{command}: {(done.stderr or done.stdout)[-3000:]}"
