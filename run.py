#!/usr/bin/env python3
"""Sets Homing up in this folder and runs it. Needs Python 3.11 with venv, and nothing else.

    python3 run.py                  set up on first use, then run a server on http://127.0.0.1:8008
    python3 run.py setup            only set up
    python3 run.py test ...         set up what tests need, then run them; arguments go to pytest
    python3 run.py run ...          run a server; arguments go to `homeserver run`
    python3 run.py user create NAME make an account on the running server
    python3 run.py COMMAND ...      any other command of `homeserver`
    python3 run.py lock             write the lock files anew from pyproject.toml

Only the standard library is imported: this file makes the environment that has the rest.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
INSTALLER_LOCK = ROOT / "requirements-installer.lock"
SERVER_LOCK = ROOT / "requirements.lock"
DEV_LOCK = ROOT / "requirements-dev.lock"
OLDEST_PYTHON = (3, 11)


class SetupFailed(Exception):
    """Told to the user without a traceback."""


def main(arguments: list[str]) -> int:
    command, rest = (arguments[0], arguments[1:]) if arguments else ("run", [])
    if command in ("-h", "--help", "help"):
        print(__doc__)
        return 0
    try:
        check_python()
        return run(command, rest)
    except SetupFailed as failure:
        say(f"cannot set up: {failure}")
        return 1
    except KeyboardInterrupt:
        return 130


def run(command: str, rest: list[str]) -> int:
    if command == "lock":
        set_up(SERVER_LOCK)
        return write_locks()
    if command == "test":
        set_up(DEV_LOCK)
        return become([str(program("python")), "-m", "pytest", *(rest or ["-q", "-n", "auto"])])
    # An environment that already has the development tools has all that the server needs.
    set_up(SERVER_LOCK, or_better=DEV_LOCK)
    if command == "setup":
        return 0
    return become([str(program("python")), str(program("homeserver")), command, *rest])


def check_python() -> None:
    if sys.version_info < OLDEST_PYTHON:
        found = ".".join(map(str, sys.version_info[:2]))
        raise SetupFailed(
            f"Homing needs Python 3.11 or later, this is {found}: start run.py with a newer one"
        )
    if shutil.which("apt-get") and not venv_works():
        raise SetupFailed("Python's venv is missing. As root: apt-get install -y python3-venv")
    if not venv_works():
        raise SetupFailed(
            "Python's modules venv and ensurepip are missing: install them from your system's packages"
        )


def venv_works() -> bool:
    """Debian ships venv without ensurepip, which it needs, unless python3-venv is installed."""
    return all(module_exists(name) for name in ("venv", "ensurepip"))


def module_exists(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def set_up(lock: Path, or_better: Path | None = None) -> None:
    """Make the environment match the lock, unless its stamp says that it does."""
    if any(stamp_of(good) == read_stamp() for good in (lock, or_better) if good):
        return
    started = time.monotonic()
    say("setting up in .venv (once; later starts skip this)")
    stamp_file().unlink(missing_ok=True)
    make_environment()
    install(lock)
    link_project()
    stamp_file().write_text(stamp_of(lock))
    say(f"set up in {time.monotonic() - started:.0f} s")


def stamp_file() -> Path:
    return VENV / "homing-stamp"


def stamp_of(lock: Path) -> str:
    """Names what the environment was made from: the locks, this script, the interpreter and the place."""
    parts = [lock.read_bytes(), INSTALLER_LOCK.read_bytes(), Path(__file__).read_bytes()]
    parts += [sys.version.encode(), os.fsencode(ROOT)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def read_stamp() -> str:
    try:
        return stamp_file().read_text()
    except OSError:
        return ""


def make_environment() -> None:
    if python_of_environment() == sys.version:
        return
    with step("making the environment"):
        shutil.rmtree(VENV, ignore_errors=True)
        call([sys.executable, "-m", "venv", str(VENV)])


def python_of_environment() -> str:
    """The version of the environment's interpreter; nothing when it does not run (moved, or Python upgraded)."""
    probe = [str(program("python")), "-c", "import sys, pip; print(sys.version)"]
    try:
        done = subprocess.run(probe, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    # A version may have several lines.
    return done.stdout.rstrip("\n")


def install(lock: Path) -> None:
    """With uv, in seconds; with pip, when uv cannot run here."""
    pip = [
        str(program("python")),
        "-m",
        "pip",
        "--disable-pip-version-check",
        *cache_option("--no-cache-dir"),
    ]
    try:
        with step("installing the installer (uv)"):
            call([*pip, "install", "-q", "--require-hashes", "-r", str(INSTALLER_LOCK)])
        with step("installing the packages"):
            call(
                [
                    *uv(),
                    "pip",
                    "sync",
                    "-q",
                    "--require-hashes",
                    str(lock),
                    "--python",
                    str(program("python")),
                ]
            )
    except SetupFailed as failure:
        say(f"uv did not do it ({failure}); pip takes about a minute")
        with step("installing the packages with pip"):
            binary = ["--only-binary", ":all:", "--no-compile", "--require-hashes"]
            call([*pip, "install", "-q", *binary, "-r", str(lock)])


def uv() -> list[str]:
    return [str(program("uv")), *cache_option("--no-cache")]


def cache_option(without: str) -> list[str]:
    """An ordinary user may have no home that can be written to."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home())
    return [] if os.access(home, os.W_OK | os.X_OK) else [without]


def link_project() -> None:
    """Make our packages importable and `homeserver` a command, without building anything."""
    probe = "import sysconfig; print(sysconfig.get_path('purelib'))"
    done = subprocess.run(
        [str(program("python")), "-c", probe], capture_output=True, text=True, timeout=60, check=True
    )
    (Path(done.stdout.strip()) / "homing.pth").write_text(f"{ROOT}\n")
    script = program("homeserver")
    text = "import sys\n\nfrom homeserver.app.main import main\n\nsys.exit(main())\n"
    script.write_text(f"#!{program('python')}\n{text}")
    script.chmod(0o755)


def write_locks() -> int:
    """Resolve pyproject.toml for every platform, with hashes and without any download address."""
    common = [
        "pip",
        "compile",
        "-q",
        "--universal",
        "--generate-hashes",
        "--python-version",
        "3.11",
        "--upgrade",
    ]
    common += [
        "--custom-compile-command",
        "python3 run.py lock",
        "--no-emit-index-url",
        "--no-emit-find-links",
    ]
    project = str(ROOT / "pyproject.toml")
    for arguments in (
        ["-", "-o", str(INSTALLER_LOCK)],
        [project, "-o", str(SERVER_LOCK)],
        [project, "--group", f"{project}:dev", "-c", str(SERVER_LOCK), "-o", str(DEV_LOCK)],
    ):
        call([*uv(), *common, *arguments], text="uv\n", cwd=ROOT)
    return 0


def program(name: str) -> Path:
    return VENV / ("Scripts" if os.name == "nt" else "bin") / name


def become(command: list[str]) -> int:
    """Leave our place to the program: signals and exit status are then its own."""
    sys.stdout.flush()
    os.execv(command[0], command)


def call(command: list[str], text: str | None = None, cwd: Path | None = None) -> None:
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=cwd, timeout=900)
    except OSError as failure:
        raise SetupFailed(f"{command[0]}: {failure.strerror}") from failure
    except subprocess.TimeoutExpired as failure:
        raise SetupFailed(f"{Path(command[0]).name} took more than 15 minutes") from failure
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-15:]
        raise SetupFailed(f"{Path(command[0]).name} ended with {done.returncode}\n  " + "\n  ".join(last))


@contextmanager
def step(what: str) -> Iterator[None]:
    started = time.monotonic()
    print(f"  {what} ...", end="", flush=True, file=sys.stderr)
    try:
        yield
    except BaseException:
        print(" failed", flush=True, file=sys.stderr)
        raise
    print(f" {time.monotonic() - started:.1f} s", flush=True, file=sys.stderr)


def say(text: str) -> None:
    print(f"homing: {text}", flush=True, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
