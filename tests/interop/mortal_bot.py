"""Starts a bot that dies on command (`mortal_bot_process.py`), and starts it again on what it has stored."""

import asyncio
import itertools
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from attrs import define

from tests.interop.server_process import ROOT
from tests.interop.sites import Site

PATIENCE = 60.0
_LINE = 2**20
_names = itertools.count(1)


@define(eq=False)
class MortalBot:
    """One life of it after the other."""

    site: Site
    folder: Path
    username: str
    process: Process | None = None
    user_id: str = ""
    device_id: str = ""

    async def start(self) -> None:
        """Returns when it has synced."""
        with (self.folder / "bot.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.interop.mortal_bot_process",
                self.site.process.url,
                self.username,
                self.folder,
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                cwd=ROOT,
                limit=_LINE,
            )
        said = await self._said()
        self.user_id, self.device_id = said["user_id"], said["device_id"]

    async def do(self, command: str, **given: Any) -> Any:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(orjson.dumps({"command": command, **given}) + b"\n")
        said = await self._said()
        assert "error" not in said, said["error"]
        return said["told"]

    async def _said(self) -> Any:
        assert self.process is not None
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = await self.process.stdout.readline()
        assert line, (self.folder / "bot.log").read_text()[-3000:]
        return orjson.loads(line)

    async def dead(self) -> None:
        """Wait until it has died as it was told to."""
        assert self.process is not None
        async with asyncio.timeout(PATIENCE):
            assert await self.process.wait() == -signal.SIGKILL, (self.folder / "bot.log").read_text()[-3000:]

    async def reads(self, room_id: str, events: list[str]) -> None:
        """Wait until it can decrypt all of them."""
        await self.do("read", room=room_id, events=events)

    async def stop(self) -> None:
        """Let it end by itself."""
        if self.process is None or self.process.returncode is not None:
            return
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(PATIENCE):
            await self.process.wait()


@asynccontextmanager
async def mortal_bot(site: Site, folder: Path) -> AsyncIterator[MortalBot]:
    bot = MortalBot(site, folder, f"mortal{next(_names)}-nio")
    await bot.start()
    try:
        yield bot
    finally:
        await bot.stop()
