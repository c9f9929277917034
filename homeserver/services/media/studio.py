"""Has images drawn by processes of their own, a few at a time, each within its time (see `drawing`)."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any

import structlog
from attrs import define, field, frozen

from storage.media_thumbnails import Size

log = structlog.get_logger(__name__)

_PROGRAM = Path(__file__).with_name("drawing.py")
_IDLE = 60.0  # seconds a process is kept for the next order
_SILENT = {"MALLOC_ARENA_MAX": "1"}  # the C library asks for less memory


class CannotDraw(Exception):
    """The image cannot be read."""


class TooLargeToDraw(CannotDraw):
    """Reading it would take too much memory or time."""


@frozen
class Drawn:
    """What was made; `content_type` is None where the source itself will do."""

    content_type: str | None
    width: int
    height: int


@frozen
class StudioLimits:
    """What drawing may cost."""

    pixels: int = 32_000_000
    seconds: float = 20.0
    processes: int = 1


@define(eq=False)
class Studio:
    """Processes are started when they are needed, and end when there was nothing to do for a while."""

    limits: StudioLimits = StudioLimits()
    _free: list[Process] = field(factory=list, init=False)
    _turns: asyncio.Semaphore = field(init=False)
    _retiring: asyncio.TimerHandle | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._turns = asyncio.Semaphore(self.limits.processes)

    async def draw(self, source: Path, target: Path, size: Size) -> Drawn:
        """Draw the source within the size. Raises CannotDraw."""
        order = {
            "source": str(source),
            "target": str(target),
            "width": size.width,
            "height": size.height,
            "crop": size.crop,
            "animated": size.animated,
            "pixels": self.limits.pixels,
        }
        async with self._turns:
            outcome = await self._ordered(order)
        if outcome.get("fault") == "too_large":
            raise TooLargeToDraw("it is too large")
        if "fault" in outcome:
            raise CannotDraw(outcome.get("cause", ""))
        return Drawn(outcome.get("type"), outcome["width"], outcome["height"])

    async def _ordered(self, order: dict[str, Any]) -> dict[str, Any]:
        process = self._free.pop() if self._free else await _begin()
        try:
            async with asyncio.timeout(self.limits.seconds):
                outcome = await _told(process, order)
        except (TimeoutError, OSError, ValueError) as cause:
            await _end(process)
            log.info("an image could not be drawn", source=order["source"], cause=repr(cause))
            raise TooLargeToDraw("it takes too long, or ended the process") from cause
        except BaseException:
            await _end(process)
            raise
        self._free.append(process)
        self._retire_later()
        return outcome

    def _retire_later(self) -> None:
        if self._retiring is not None:
            self._retiring.cancel()
        self._retiring = asyncio.get_running_loop().call_later(_IDLE, self._retire)

    def _retire(self) -> None:
        for process in self._free:
            assert process.stdin is not None
            process.stdin.close()  # it ends when its orders do
        self._free.clear()

    async def close(self) -> None:
        """End all."""
        if self._retiring is not None:
            self._retiring.cancel()
        free, self._free = self._free, []
        for process in free:
            await _end(process)


async def _begin() -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        str(_PROGRAM),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env={**os.environ, **_SILENT},
    )


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
