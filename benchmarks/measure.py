"""What a process tree has used: CPU seconds and resident memory, from /proc."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from attrs import frozen

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

QUIET_STEP = 0.25
QUIET_CPU = 0.03
QUIET_LIMIT = 15.0


@frozen
class Usage:
    """CPU seconds since the start, at one moment."""

    server: float
    database: float
    generator: float


@frozen
class Cost:
    """What a number of operations took."""

    operations: int
    seconds: float
    server_cpu: float
    database_cpu: float
    generator_cpu: float

    @property
    def per_second(self) -> float:
        return self.operations / self.seconds

    def cpu_ms(self, *, server: bool = True, database: bool = True) -> float:
        """CPU milliseconds an operation, of the server, its database or both."""
        used = self.server_cpu * server + self.database_cpu * database
        return 1000 * used / self.operations


@frozen
class Gauge:
    """Reads the usage of a server and its database."""

    server_pid: int
    database_pid: int

    def usage(self) -> Usage:
        children = _children()
        own = os.times()
        return Usage(
            server=_tree_cpu(self.server_pid, children),
            database=_tree_cpu(self.database_pid, children),
            generator=own.user + own.system,
        )

    def resident_bytes(self) -> int:
        """Memory of the server's processes, shared pages counted once each process."""
        children = _children()
        return sum(_resident(pid) for pid in _tree(self.server_pid, children))

    async def quiet(self) -> None:
        """Wait for work put off beyond the answers; give up on a server that never rests."""
        limit = time.monotonic() + QUIET_LIMIT
        before = self.usage()
        while time.monotonic() < limit:
            await asyncio.sleep(QUIET_STEP)
            after = self.usage()
            if after.server + after.database - before.server - before.database < QUIET_CPU:
                return
            before = after

    async def cost(self, work: Callable[[], Awaitable[int]]) -> Cost:
        """Do `work`, which says how many operations it did; count the CPU until all is quiet."""
        before, start = self.usage(), time.monotonic()
        operations = await work()
        seconds, generator = time.monotonic() - start, self.usage().generator
        await self.quiet()
        after = self.usage()
        return Cost(
            operations=operations,
            seconds=seconds,
            server_cpu=after.server - before.server,
            database_cpu=after.database - before.database,
            generator_cpu=generator - before.generator,
        )


def _stat(pid: int) -> list[str]:
    """The fields of a process after its name; empty when it has just ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text[text.rindex(")") + 2 :].split()


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    return children


def _tree(root: int, children: dict[int, list[int]]) -> list[int]:
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def _tree_cpu(root: int, children: dict[int, list[int]]) -> float:
    # Own time plus that of ended, awaited children: so nothing is lost when a database backend ends.
    fields = [_stat(pid)[11:15] for pid in _tree(root, children)]
    return sum(int(ticks) for times in fields for ticks in times) / TICK


def _resident(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[21]) * PAGE if fields else 0
