"""Has work done by processes of their own, a few at a time, each within its time (see `confined_program`).

Threads start the processes and speak to them: to fork a large server takes the event loop tens of milliseconds, while a
thread starts a program without a fork.
"""

import asyncio
import os
import sys
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Any

import orjson
from attrs import define, field

_PROGRAM = Path(__file__).with_name("confined_program.py")
_IDLE = 60.0  # seconds a process is kept for the next order
_SPARE = {"MALLOC_ARENA_MAX": "1"}  # the C library asks for less memory

Process = Popen[bytes]


class Failed(Exception):
    """It took too long, or ended the process."""


@define(eq=False)
class Confined:
    """Processes for one module. They start when they are needed, and end when there was nothing to do for a while."""

    module: Path
    seconds: float
    processes: int = 1
    _free: list[Process] = field(factory=list, init=False)
    _turns: asyncio.Semaphore = field(init=False)
    _retiring: asyncio.TimerHandle | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._turns = asyncio.Semaphore(self.processes)

    async def order(self, order: dict[str, Any]) -> dict[str, Any]:
        """What the module's `answer` says to it. Raises Failed."""
        async with self._turns:
            process = self._free.pop() if self._free else await asyncio.to_thread(_begin, self.module)
            try:
                outcome = await self._told(process, orjson.dumps(order) + b"\n")
            except BaseException:
                await asyncio.to_thread(_end, process)
                raise
            self._free.append(process)
            self._retire_later()
            return outcome

    async def close(self) -> None:
        """End all."""
        if self._retiring is not None:
            self._retiring.cancel()
        free, self._free = self._free, []
        for process in free:
            await asyncio.to_thread(_end, process)

    async def _told(self, process: Process, line: bytes) -> dict[str, Any]:
        """When the time is over the process is ended, and with it the thread's waiting."""
        try:
            async with asyncio.timeout(self.seconds):
                outcome: dict[str, Any] = orjson.loads(await asyncio.to_thread(_asked, process, line))
                return outcome
        except (TimeoutError, OSError, ValueError) as cause:
            raise Failed(str(cause) or "it took too long") from cause

    def _retire_later(self) -> None:
        if self._retiring is not None:
            self._retiring.cancel()
        self._retiring = asyncio.get_running_loop().call_later(_IDLE, self._retire)

    def _retire(self) -> None:
        free, self._free = self._free, []
        asyncio.get_running_loop().run_in_executor(None, _end_all, free)


def _begin(module: Path) -> Process:
    return Popen(  # noqa: S603 (our own program)
        [sys.executable, "-I", "-Xutf8", str(_PROGRAM), str(module)],
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env={**os.environ, **_SPARE},
    )


def _asked(process: Process, line: bytes) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line)
    process.stdin.flush()
    return process.stdout.readline()


def _end(process: Process) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


def _end_all(processes: list[Process]) -> None:
    for process in processes:
        _end(process)
