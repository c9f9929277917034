"""The installed server as a process of its own, with a database of its own: what a client in the wild talks to."""

import itertools
import os
import socket
import subprocess
import sys
from pathlib import Path

from attrs import define, field

ROOT = Path(__file__).parent.parent.parent
READY_SECONDS = 60
STOP_SECONDS = 30
LAST_WORDS = 40  # lines of a log

# Cheap hashes: the passwords here protect nothing. What the log says stands in the folder.
CONFIG = """\
[passwords]
argon2_memory_kib = 8
argon2_passes = 1

[registration]
guests = true

[logging]
level = "info"
"""
running: "list[ServerProcess]" = []  # whose logs may tell why a test fails


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@define(eq=False)
class ServerProcess:
    """`homeserver run` on one data folder; may be started, stopped and killed again and again."""

    folder: Path
    port: int = field(factory=free_port)
    process: subprocess.Popen | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def start(self) -> None:
        """Returns when it serves."""
        (self.folder / "homeserver.toml").write_text(self.config())
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command(), stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT, env=_environment()
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("ready "), self.log.read_text()[-3000:]
        running.append(self)

    def _command(self) -> list[str]:
        program = [sys.executable, "-c", "from homeserver.app.main import main; main()", "run"]
        return [
            *program,
            *self.arguments(),
            "--data",
            str(self.folder),
            "--open-registration",
            "--no-rate-limits",
        ]

    def config(self) -> str:
        """What stands in its homeserver.toml."""
        return f'[server]\npublic_baseurl = "{self.url}"\n\n{CONFIG}'

    def arguments(self) -> list[str]:
        """Who it is, and where it listens."""
        return ["--server-name", f"localhost:{self.port}", "--listen", f"127.0.0.1:{self.port}"]

    def stop(self) -> None:
        """As an operator does."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(STOP_SECONDS)
            self._close()

    def kill(self) -> None:
        """As the kernel does when memory is short: nothing can be finished."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_SECONDS)
        self._close()

    def _close(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None
        running.remove(self)

    def last_words(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LAST_WORDS:])

    def complaints(self) -> list[str]:
        """What no client may cause: answers of 5xx and surprises, each with what is told of it."""
        lines = self.log.read_text(errors="replace").splitlines()
        found = [number for number, line in enumerate(lines) if "[error" in line]
        return ["\n".join([lines[number], *_indented(lines[number + 1 :])]) for number in found]


def _indented(lines: list[str]) -> list[str]:
    """The traceback that follows a line of the log, up to the next such line."""
    return list(itertools.takewhile(lambda line: not line[:1].isdigit(), lines))[:200]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
