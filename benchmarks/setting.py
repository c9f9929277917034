"""What a run depends on: commit, date, machine and versions."""

import datetime
import os
import platform
import subprocess
from pathlib import Path

from benchmarks.postgres import SETTINGS, Cluster
from benchmarks.scenarios.scenario import Scale

REPOSITORY = Path(__file__).resolve().parent.parent


async def describe(cluster: Cluster, synapse: str, scale: Scale) -> dict[str, str]:
    """The lines of the page's first table."""
    return {
        "Commit": commit(),
        "Date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Machine": machine(),
        "System": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "Load average before": f"{os.getloadavg()[0]:.1f}",
        "PostgreSQL": f"{await cluster.version()}; "
        + ", ".join(f"{k}={v}" for k, v in SETTINGS.items() if v),
        "Synapse": f"{synapse}, one process, default caches, presence on, no rate limits, log level WARNING",
        "Homing": "one process, defaults, no rate limits, log level warning",
        "Rounds": f"{scale.rounds} of {scale.seconds:g} s each; joins and database growth once",
    }


def commit() -> str:
    """The commit, marked when the work tree differs from it."""
    head = _git("rev-parse", "--short=12", "HEAD")
    changed = _git(
        "status", "--porcelain", "--untracked-files=no", "--", ":!docs/benchmarks.md", ":!benchmarks"
    )
    return f"{head} with uncommitted changes" if changed else head


def machine() -> str:
    """What it ran on."""
    return f"{_cpu_model()}, {os.cpu_count()} cores, {_memory_gib()} GiB"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=30
    )
    return done.stdout.strip()


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib() -> int:
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30)
