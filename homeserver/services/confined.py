"""Has work done by processes of their own, a few at a time, each within its time (see `confined_program`)."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any

from attrs import define, field

_PROGRAM = Path(__file__).with_name("confined_program.py")
_IDLE = 60.0  # seconds a process is kept for the next order
_SPARE = {"MALLOC_ARENA_MAX": "1"}  # the C library asks for less memory
_MAX_LINE = 4 * 1024 * 1024


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
            process = self._free.pop() if self._free else await self._begin()
            try:
                async with asyncio.timeout(self.seconds):
                    outcome = await _told(process, order)
            except (TimeoutError, OSError, ValueError) as cause:
                await _end(process)
                raise Failed(str(cause) or "it took too long") from cause
            except BaseException:
                await _end(process)
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
            await _end(process)

    async def _begin(self) -> Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(_PROGRAM),
            str(self.module),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env={**os.environ, **_SPARE},
            limit=_MAX_LINE,
        )

    def _retire_later(self) -> None:
        if self._retiring is not None:
            self._retiring.cancel()
        self._retiring = asyncio.get_running_loop().call_later(_IDLE, self._retire)

    def _retire(self) -> None:
        for process in self._free:
            assert process.stdin is not None
            process.stdin.close()  # it ends when its orders do
        self._free.clear()


async def _told(process: Process, order: dict[str, Any]) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(order).encode() + b"\n")
    await process.stdin.drain()
    line = await process.stdout.readline()
    if not line:
        raise ConnectionError("the process has ended")
    outcome: dict[str, Any] = json.loads(line)
    return outcome


async def _end(process: Process) -> None:
    if process.returncode is None:
        try:
            process.kill()
        except ProcessLookupError:
            return  # it has ended by itself
    await process.wait()
