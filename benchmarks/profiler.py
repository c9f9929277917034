"""Where our server spends its time during a load, by py-spy."""

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.processes import start_child

SAMPLES_PER_SECOND = 200
ENDLESS = 36_000


@asynccontextmanager
async def recorded(pid: int, folder: Path | None, name: str) -> AsyncIterator[None]:
    """Record process `pid` into `folder` as collapsed stacks, which people and tools can read."""
    if folder is None:
        yield
        return
    options = [
        "--rate",
        str(SAMPLES_PER_SECOND),
        "--duration",
        str(ENDLESS),
        "--format",
        "raw",
        "--nonblocking",
    ]
    recorder = await start_child(
        [
            Path(sys.executable).with_name("py-spy"),
            "record",
            "--pid",
            str(pid),
            *options,
            "--output",
            folder / f"{name}.stacks",
        ],
        log=folder / f"{name}.log",
    )
    try:
        yield
    finally:
        await recorder.stop(signal.SIGINT)
