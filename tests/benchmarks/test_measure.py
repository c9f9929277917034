"""Used CPU and memory are those of the whole tree of processes."""

import asyncio
import os
import sys

from benchmarks.load import for_seconds, times
from benchmarks.measure import Cost, Gauge

SPIN = "import time; end = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SPIN!r}]); print('done', flush=True); input()"


async def test_the_cpu_of_children_counts_also_after_their_end():
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    gauge = Gauge(server_pid=process.pid, database_pid=process.pid)

    async def until_done():
        await process.stdout.readline()
        return 1

    cost = await gauge.cost(until_done)
    resident = gauge.resident_bytes()
    await process.communicate(b"\n")
    assert cost.server_cpu >= 0.19
    assert resident > 1_000_000


def test_our_own_usage_is_the_generators():
    before = Gauge(os.getpid(), os.getpid()).usage()
    sum(range(3_000_000))
    after = Gauge(os.getpid(), os.getpid()).usage()
    assert after.generator > before.generator


def test_cpu_is_told_apart():
    cost = Cost(operations=10, seconds=1, server_cpu=0.3, database_cpu=0.1, generator_cpu=0)
    assert (cost.cpu_ms(), cost.cpu_ms(database=False), cost.cpu_ms(server=False)) == (40, 30, 10)


async def test_steps_are_counted():
    done = []

    async def step():
        done.append(1)
        await asyncio.sleep(0)

    assert await times(7, [step, step, step]) == 7 == len(done)
    assert await for_seconds(0.01, [step]) == len(done) - 7
