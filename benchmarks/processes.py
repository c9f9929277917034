"""A child process that cannot outlive the benchmark, and its clean end."""

import asyncio
import ctypes
import os
import pwd
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from attrs import frozen

Argument = str | Path

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 30.0

_libc = ctypes.CDLL(None, use_errno=True)


@frozen
class Child:
    """A started program; its standard output is a pipe when asked for."""

    process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        return self.process.pid

    async def stop(self, how: signal.Signals) -> None:
        """Ask it to end, and insist when it does not."""
        if self.process.returncode is not None:
            return
        self.process.send_signal(how)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


def run_as_account() -> int | None:
    """PostgreSQL refuses root: the account it runs as then, else None."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


async def start_child(
    command: Sequence[Argument],
    *,
    log: Path,
    uid: int | None = None,
    pipe_output: bool = False,
) -> Child:
    """Start `command`, its errors (and output, unless piped) going to `log`."""
    with log.open("ab") as sink:
        process = await asyncio.create_subprocess_exec(
            *map(str, command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if pipe_output else sink,
            stderr=sink,
            cwd="/",
            start_new_session=True,
            preexec_fn=partial(_before_exec, uid),
        )
    return Child(process=process)


async def run_to_end(command: Sequence[Argument], *, uid: int | None = None) -> str:
    """The output of a short command; its failure is ours, with its last words."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd="/",
        preexec_fn=partial(_before_exec, uid),
    )
    output, _ = await process.communicate()
    text = output.decode(errors="replace")
    if process.returncode != 0:
        raise CommandFailed(f"{Path(command[0]).name} failed:\n{text[-3000:]}")
    return text


class CommandFailed(Exception):
    """A program that the benchmark needs did not do its work."""


def _before_exec(uid: int | None) -> None:
    """In the child: become the account, and end when the benchmark does."""
    if uid is not None:
        os.setgroups([])
        os.setgid(pwd.getpwuid(uid).pw_gid)
        os.setuid(uid)
    # After the change of user, which would clear it.
    _libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGINT))
