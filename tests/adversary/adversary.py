"""The hostile program as tests drive it: one method a thing that it can do."""

import asyncio
import itertools
import json
import sys
from pathlib import Path
from typing import Any

from attrs import define, field

from tests.kit.loopback import Authority, free_name

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 30.0


@define(eq=False)
class Adversary:
    """`await adversary.send(to=…, pdus=[…])`; see the program for what there is."""

    authority: Authority
    name: str = field(factory=free_name)
    _process: asyncio.subprocess.Process | None = None
    _waiting: dict[int, asyncio.Future[Any]] = field(factory=dict)
    _numbers: Any = field(factory=lambda: itertools.count(1))
    _reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        certificate, key = self.authority.files(self.name)
        files = [str(certificate), str(key), str(self.authority.path)]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.adversary.program", self.name, *files),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            limit=2**28,
        )
        ready = self._waiting[0] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read())
        async with asyncio.timeout(PATIENCE):
            await ready

    async def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
        if self._reader is not None:
            await self._reader

    def user(self, localpart: str) -> str:
        return f"@{localpart}:{self.name}"

    async def do(self, what: str, **arguments: Any) -> Any:
        """Give an order; its result."""
        assert self._process is not None
        assert self._process.stdin is not None
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"id": number, "do": what, **arguments}).encode() + b"\n")
        async with asyncio.timeout(PATIENCE):
            return await answer

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            waiting = self._waiting.pop(said["id"])
            if "failed" in said:
                waiting.set_exception(AssertionError(said["failed"]))
            else:
                waiting.set_result(said["result"])
