"""Where our server spends its time during a load, by py-spy."""

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.processes import Argument, start_child

_PY_SPY = Path(sys.executable).with_name("py-spy")

# Until it is stopped; without pauses of the server, which would be measured too.
OPTIONS = ["--format", "raw", "--rate", "200", "--duration", "36000", "--nonblocking"]


@asynccontextmanager
async def recorded(pid: int, folder: Path | None, name: str) -> AsyncIterator[None]:
    """Record process `pid` into `folder` as collapsed stacks, which people and tools can read."""
    if folder is None:
        yield
        return
    stacks, log = folder / f"{name}.stacks", folder / f"{name}.log"
    target: list[Argument] = ["--pid", str(pid), "--subprocesses", "--output", stacks]
    recorder = await start_child([_PY_SPY, "record", *OPTIONS, *target], log=log)
    try:
        yield
    finally:
        await recorder.stop(signal.SIGINT)
