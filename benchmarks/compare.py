"""The command: `python -m benchmarks.compare` measures Homing beside Synapse and writes docs/benchmarks.md."""

import argparse
import asyncio
import gc
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import uvloop
from attrs import evolve

from benchmarks import results, servers
from benchmarks.connection import RequestFailed
from benchmarks.processes import CommandFailed
from benchmarks.report import render_page, render_terminal
from benchmarks.results import Results
from benchmarks.runner import Runner, run_all
from benchmarks.scenarios.catalogue import SCENARIOS
from benchmarks.scenarios.scenario import FULL, QUICK, Scale, Scenario
from benchmarks.setting import REPOSITORY, describe
from benchmarks.synapse import VERSION, install
from tests.kit.loopback import Authority

CACHE = REPOSITORY / ".bench"
PAGE = REPOSITORY / "docs" / "benchmarks.md"
LATEST = Path(__file__).with_name("latest.json")


def main() -> None:
    options = _parser().parse_args()
    if options.render:
        PAGE.write_text(render_page(results.load(LATEST)))
        return
    if options.profile:
        options.profile.mkdir(parents=True, exist_ok=True)
    try:
        _run(_compare(options))
    except (CommandFailed, RequestFailed) as failure:
        sys.exit(f"{type(failure).__name__}: {failure}")


async def _compare(options: argparse.Namespace) -> None:
    scale = _scale(options)
    scenarios = [each for each in SCENARIOS if not options.only or each.name in options.only]
    async with _runner(options, scale) as runner:
        setting = await describe(runner.sites[0].cluster, options.synapse_version, scale)
        found = Results(setting, tuple(await _timed(runner, scenarios)))
    complete = not (options.quick or options.only or options.only_ours or options.only_synapse)
    if options.write or complete:
        LATEST.write_bytes(results.dump(found))
        PAGE.write_text(render_page(found))


async def _timed(runner: Runner, scenarios: Sequence[Scenario]) -> list[results.LoadResult]:
    start = time.monotonic()

    def show(load: results.LoadResult) -> None:
        print(f"\n[{time.monotonic() - start:4.0f} s] {render_terminal(load)}", flush=True)

    return await run_all(runner, scenarios, show)


@asynccontextmanager
async def _runner(options: argparse.Namespace, scale: Scale) -> AsyncIterator[Runner]:
    """Both servers, or the one that was asked for, in a folder that goes with them."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(_folder(options))
        ours = theirs = None
        authority = Authority(folder)
        if not options.only_synapse:
            place = _place(folder, "homing")
            ours = await stack.enter_async_context(servers.homing(place, options.homeserver, authority))
        if not options.only_ours:
            installed = await install(CACHE, options.synapse_version)
            place = _place(folder, "synapse")
            theirs = await stack.enter_async_context(servers.synapse(place, installed, authority))
        yield Runner(ours, theirs, scale, options.profile)


@contextmanager
def _folder(options: argparse.Namespace) -> Iterator[Path]:
    """Where the databases and logs of this run lie, on a real disk if the default is none."""
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=options.folder))
    # The account that PostgreSQL runs as must be able to pass.
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        if options.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder)


def _place(folder: Path, name: str) -> Path:
    place = folder / name
    place.mkdir(mode=0o711)
    return place


def _scale(options: argparse.Namespace) -> Scale:
    scale = QUICK if options.quick else FULL
    return evolve(
        scale,
        rounds=options.rounds or scale.rounds,
        seconds=options.seconds or scale.seconds,
        joins=options.joins or scale.joins,
    )


def _run(work: Coroutine[None, None, None]) -> None:
    # Fewer pauses of the generator itself: what is alive now stays, and little of what comes is cyclic.
    gc.freeze()
    gc.set_threshold(100_000)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(work)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    names = [scenario.name for scenario in SCENARIOS]
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--only-ours", action="store_true", help="run Homing alone")
    only.add_argument("--only-synapse", action="store_true", help="run Synapse alone")
    parser.add_argument(
        "--only", action="append", choices=names, metavar="LOAD", help=f"one of {', '.join(names)}"
    )
    parser.add_argument("--quick", action="store_true", help="a quick look: about two minutes, one round")
    parser.add_argument("--rounds", type=int, help="rounds of each load")
    parser.add_argument("--seconds", type=float, help="length of each timed round")
    parser.add_argument("--joins", type=int, help="users that join the growing room")
    parser.add_argument(
        "--profile", type=Path, metavar="FOLDER", help="record Homing with py-spy into FOLDER"
    )
    parser.add_argument("--homeserver", type=Path, default=servers.default_program(), help="Homing's program")
    parser.add_argument(
        "--synapse-version", default=VERSION, help=f"from the package index (default {VERSION})"
    )
    parser.add_argument("--folder", type=Path, help="where databases and logs lie, best on a real disk")
    parser.add_argument("--keep", action="store_true", help="keep databases and logs")
    parser.add_argument(
        "--write", action="store_true", help="write docs/benchmarks.md even for a partial run"
    )
    parser.add_argument(
        "--render", action="store_true", help="only write docs/benchmarks.md from the last results"
    )
    return parser


if __name__ == "__main__":
    main()
