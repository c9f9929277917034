"""Node for the JavaScript clients: npm's packages beside the scripts, and a node that is new enough for them."""

import fcntl
import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "js"
MODULES = SCRIPTS / "node_modules"
OLDEST_NODE = 22  # matrix-js-sdk's "engines"
INSTALL_SECONDS = 300
_QUIET = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-progress", "--loglevel=error"]


def prepared_node() -> Path:
    """Installs what is missing. Skips where there is no npm, except under CI, where there must be one."""
    npm = shutil.which("npm")
    if npm is None:
        if os.environ.get("CI"):
            pytest.fail("npm is missing")
        pytest.skip("npm is missing: the JavaScript clients are not tested (Debian: apt-get install npm)")
    with (SCRIPTS / "package.json").open() as held:  # one installation at a time, whoever asks
        fcntl.flock(held, fcntl.LOCK_EX)
        _install(npm)
    return _new_enough()


def _install(npm: str) -> None:
    lock = sha256((SCRIPTS / "package-lock.json").read_bytes()).hexdigest()
    stamp = MODULES / ".installed"
    if stamp.exists() and stamp.read_text() == lock:
        return
    done = subprocess.run(
        [npm, "ci", *_QUIET],
        cwd=SCRIPTS,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    stamp.write_text(lock)


def _new_enough() -> Path:
    """The machine's node, or the one that npm brought."""
    found = shutil.which("node")
    candidates = [*([Path(found)] if found else []), MODULES / ".bin" / "node"]
    versions = {path: _version(path) for path in candidates if path.exists()}
    good = [path for path, version in versions.items() if version >= OLDEST_NODE]
    assert good, f"no node of version {OLDEST_NODE} or later among {versions}"
    return good[0]


def _version(program: Path) -> int:
    told = subprocess.run(
        [program, "--version"], capture_output=True, text=True, timeout=30, check=True
    ).stdout
    return int(told.removeprefix("v").partition(".")[0])
