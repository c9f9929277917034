"""Runs a PostgreSQL of our own in the data folder, for servers that are given none.

Theory of operation. The database lives and dies with its owner: we start `postgres` directly, and the kernel sends it
SIGINT (a fast, clean shutdown) when we are gone, however we went. It inherits a locked file, so the lock stays taken
until the last of its processes has ended: whoever gets the lock knows that nobody uses the cluster, and that a
`postmaster.pid` that still lies there is stale. There is no TCP port; the socket lies in a folder only we may enter.
"""

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from attrs import define, field

from homeserver.app import postgres_stub
from homeserver.app.file_lock import FileLock, Held
from homeserver.app.postgres_binaries import Binaries, copy_binaries, find_binaries
from homeserver.app.postgres_folder import DATABASE, USER, PostgresFolder, as_argument
from homeserver.app.service_account import ServiceAccount

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",  # our statements are short; compiling them costs more than it saves
    "autovacuum_naptime": "15s",
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgresql-%a.log",  # a week of files, each overwritten in its turn
    "log_rotation_age": "1d",
    "log_truncate_on_rotation": "on",
    "log_line_prefix": "%m [%p] ",
}
_POLL = 0.01
_PATIENCE_WITH_PREDECESSOR = 120.0
_PATIENCE_WITH_SHUTDOWN = 60.0
_SHELF = Path("/var/lib/homing/postgresql")


class DatabaseDidNotStart(Exception):
    """The embedded database cannot run; the message tells the operator why."""


@define
class EmbeddedPostgres:
    """One running database below a data folder. Use as a context manager, from the main thread.

    The parent-death signal follows the *thread* that started the process, hence the main thread.
    """

    data: Path
    report: Callable[[str], None]
    settings: Mapping[str, str] = SETTINGS
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    _folder: PostgresFolder | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """How to reach it."""
        return self._folder.url if self._folder else ""

    def start(self) -> None:
        """Make the cluster if there is none, start it, and wait until it takes connections."""
        binaries = find_binaries()
        folder = PostgresFolder(data=self.data.absolute(), major=binaries.major)
        folder.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _sole_use(folder, self.report) as lock:
            _refuse_other_major(folder)
            account = folder.account()
            binaries = _readable(binaries, account)
            if not folder.cluster.exists():
                self.report("creating the database")
                _create_cluster(folder, binaries=binaries, account=account)
            _check_owner(folder)
            _make_socket_folder(folder, account)
            (folder.cluster / "postmaster.pid").unlink(missing_ok=True)  # stale: we have the lock
            self._folder = folder
            self._process = _launch(
                folder, binaries=binaries, account=account, settings=self.settings, lock=lock
            )
        _await_ready(folder, self._process, self.report)

    def stop(self) -> None:
        """End it: cleanly, or at once when that takes too long (it recovers at the next start)."""
        process, self._process = self._process, None
        if process is None:
            return
        for ending, patience in (
            (signal.SIGINT, _PATIENCE_WITH_SHUTDOWN),
            (signal.SIGQUIT, 10.0),
            (signal.SIGKILL, 10.0),
        ):
            process.send_signal(ending)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                self.report(f"the database did not end on {ending.name}")
            else:
                break
        if self._folder:
            # Empty now, unless the process was killed; the next start makes it again.
            with contextlib.suppress(OSError):
                self._folder.socket.rmdir()

    def ended(self) -> bool:
        """Has it stopped although nobody asked it to?"""
        return self._process is not None and self._process.poll() is not None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _sole_use(folder: PostgresFolder, report: Callable[[str], None]) -> FileLock:
    """The lock of the cluster; a database whose owner was killed is asked to end, and awaited."""
    deadline = time.monotonic() + _PATIENCE_WITH_PREDECESSOR
    asked = False
    while True:
        try:
            return FileLock.take(folder.lock)
        except Held as cause:
            if time.monotonic() > deadline:
                raise DatabaseDidNotStart(f"another process keeps using {folder.cluster}") from cause
        if not asked and (pid := _postmaster_pid(folder)):
            report("waiting for the database of an earlier run to end")
            asked = True
            os.kill(pid, signal.SIGINT)
        time.sleep(_POLL)


def _postmaster_pid(folder: PostgresFolder) -> int | None:
    lines = _pid_file(folder)
    return int(lines[0]) if lines and lines[0].isdigit() else None


def _pid_file(folder: PostgresFolder) -> list[str]:
    try:
        return (folder.cluster / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _refuse_other_major(folder: PostgresFolder) -> None:
    others = folder.others()
    if others and not folder.cluster.exists():
        raise DatabaseDidNotStart(
            f"the data folder holds a database of another PostgreSQL version ({others[-1]}), and this installation "
            f'has version {folder.major}: move it as docs/operations.md, "A new major version of PostgreSQL", says'
        )


def _check_owner(folder: PostgresFolder) -> None:
    owner = folder.cluster.stat().st_uid
    if os.geteuid() not in (0, owner):
        raise DatabaseDidNotStart(
            f"{folder.cluster} belongs to user number {owner}: start the server as that user or as root, or use "
            "another data folder with --data"
        )


def _readable(binaries: Binaries, account: ServiceAccount) -> Binaries:
    """The programs where the account can run them: in place, else a copy."""
    if os.geteuid() != 0:
        return binaries
    probe = _command(account, Path("/"), death_signal=0, program=[binaries.initdb, "--version"])
    if subprocess.run(probe, capture_output=True, timeout=30, check=False).returncode == 0:  # noqa: S603
        return binaries
    return copy_binaries(binaries, _SHELF)


def _create_cluster(folder: PostgresFolder, *, binaries: Binaries, account: ServiceAccount) -> None:
    """initdb and one empty database, in a draft that is renamed when it is whole."""
    shutil.rmtree(folder.draft, ignore_errors=True)
    folder.draft.mkdir(mode=0o700)
    account.own(folder.draft)
    place = as_argument(folder.draft)
    # C sorts by code point, on every system and for ever: no index breaks when the C library is upgraded.
    options = ["-U", USER, "-A", "trust", "--encoding", "UTF8", "--locale", "C", "--no-instructions"]
    _run(folder.draft, account, [binaries.initdb, "-D", place, *options])
    _run(
        folder.draft,
        account,
        [binaries.postgres, "--single", "-D", place, "postgres"],
        f"CREATE DATABASE {DATABASE}\n",
    )
    folder.draft.rename(folder.cluster)


def _run(folder: Path, account: ServiceAccount, program: list[str], text: str = "") -> None:
    command = _command(account, folder, death_signal=signal.SIGKILL, program=program)
    done = subprocess.run(  # noqa: S603
        command, input=text, capture_output=True, text=True, timeout=300, check=False, env=_environment()
    )
    if done.returncode:
        raise DatabaseDidNotStart(f"{Path(program[0]).name} failed: {done.stderr.strip()}")


def _make_socket_folder(folder: PostgresFolder, account: ServiceAccount) -> None:
    """Only the account may enter it: whoever reaches the socket is the database's owner."""
    socket = folder.socket
    socket.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = socket.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), account.uid):
        raise DatabaseDidNotStart(f"{socket} belongs to somebody else: remove it")
    account.own(socket)
    socket.chmod(0o700)


def _launch(
    folder: PostgresFolder,
    *,
    binaries: Binaries,
    account: ServiceAccount,
    settings: Mapping[str, str],
    lock: FileLock,
) -> "subprocess.Popen[bytes]":
    options = {**settings, "unix_socket_directories": str(folder.socket), "port": "5432"}
    arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    program = [binaries.postgres, "-D", as_argument(folder.cluster), *arguments]
    folder.startup_log.unlink(missing_ok=True)  # it may be root's
    with folder.startup_log.open("wb") as log:
        return subprocess.Popen(  # noqa: S603
            _command(account, folder.cluster, death_signal=signal.SIGINT, program=program),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock.fd,),
            env=_environment(),
            start_new_session=True,  # Ctrl-C in a terminal reaches the owner alone, and that ends us in order
        )


def _await_ready(
    folder: PostgresFolder, process: "subprocess.Popen[bytes]", report: Callable[[str], None]
) -> None:
    """Until it takes connections: as long as recovery needs, while the process lives."""
    started = told = time.monotonic()
    while "ready" not in "".join(_pid_file(folder)[7:8]):
        if process.poll() is not None:
            last = folder.startup_log.read_text(errors="replace").strip().splitlines()[-5:]
            raise DatabaseDidNotStart("the database ended while starting: " + " | ".join(last))
        if time.monotonic() - told > 2:
            told = time.monotonic()
            report(f"the database is starting or recovering ({told - started:.0f} s)")
        time.sleep(_POLL)


def _command(account: ServiceAccount, folder: Path, *, death_signal: int, program: list[str]) -> list[str]:
    numbers = [str(number) for number in (os.getpid(), account.uid, account.gid, int(death_signal))]
    return [sys.executable, "-I", "-S", postgres_stub.__file__, *numbers, str(folder), *program]


def _environment() -> dict[str, str]:
    """No PG* variable of the operator's shell changes what the embedded database does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}
