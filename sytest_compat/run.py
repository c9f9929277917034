"""The one command: `python -m sytest_compat.run CHECKOUT [tests/…/file.pl …]` runs SyTest and prints our score.

CHECKOUT is a checkout of SyTest; it is copied, never changed. docs/conformance.md tells what has to be installed.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import click
from attrs import frozen

from homeserver.app.embedded_postgres import SETTINGS, EmbeddedPostgres
from storage.database import connect_once
from sytest_compat.expected import Expectation, compare, read_expectation
from sytest_compat.report import differences, score_lines
from sytest_compat.results import Result, best, is_whole, read_tap, without, write_table

ROOT = Path(__file__).resolve().parent.parent
SYTEST = Path(__file__).resolve().parent / "sytest"
# Only wakes the tests after it; SyTest itself does not have it.
_HELPER_TEST = (
    "tests/10apidoc/99dormant-abilities.pl",
    "Abilities whose own tests moved elsewhere are taken as proven",
)
# Nothing outlives the run: no flush to disk is worth waiting for.
_FAST = {
    **SETTINGS,
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "logging_collector": "off",
}
_SERVERS = 2
_PORTS = 6


@frozen
class Harness:
    """A copy of SyTest, two empty databases, and a folder for what is left of a run."""

    checkout: Path
    databases: Sequence[str]
    work: Path
    time_limit_factor: int = 3

    def run(self, files: Sequence[str]) -> list[Result]:
        """Run these files, or all, and read the results."""
        tap = self.work / "run.tap"
        with tap.open("wb") as out, (self.work / "run.err").open("wb") as err:
            _run_to_its_end(
                self._command(files), cwd=self.checkout, env=self._environment(), stdout=out, stderr=err
            )
        text = tap.read_text(encoding="utf-8", errors="replace")
        if not is_whole(text):
            click.echo(f"the run did not reach its end: see {self.work / 'run.err'}", err=True)
        return without(read_tap(text), [_HELPER_TEST])

    def _command(self, files: Sequence[str]) -> list[str]:
        first = _free_ports()
        files = [found for name in files for found in self._files(name)]
        command = ["perl", "run-tests.pl", "-I", "Homing", "--python", sys.executable]
        for url in self.databases:
            command += ["--database-url", url]
        command += ["-O", "tapfiles", "--all", "--bind-host", "127.0.0.1"]
        return [*command, "-p", f"{first}:{first + _PORTS}", "--work-directory", str(self.work), *files]

    def _files(self, name: str) -> list[str]:
        """A file by its path, or those of an area: `tests/30rooms`."""
        if not (self.checkout / name).is_dir():
            return [name]
        return sorted(str(file.relative_to(self.checkout)) for file in (self.checkout / name).rglob("*.pl"))

    def _environment(self) -> Mapping[str, str]:
        return {
            **os.environ,
            "PERL5LIB": str(SYTEST / "perl-shims"),
            "SYTEST_PLUGINS": str(SYTEST / "plugins"),
            "PYTHONPATH": str(ROOT),
            # Push gateways, application services and web pages have certificates of SyTest's authority.
            "SSL_CERT_FILE": str(self.checkout / "keys" / "ca.crt"),
            "TIMEOUT_FACTOR": str(self.time_limit_factor),
        }


def _run_to_its_end(command: Sequence[str], **how: Any) -> None:
    """Wherever we stop, the servers that the harness started stop too: they are of its process group."""
    with subprocess.Popen(command, start_new_session=True, **how) as process:
        try:
            process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def _free_ports() -> int:
    """The first of a few neighbors that nobody listens on."""
    for first in range(18_100, 19_000, _PORTS + 1):
        if all(_is_free(port) for port in range(first, first + _PORTS + 1)):
            return first
    raise click.ClickException("no free ports between 18100 and 19000")


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def harness(checkout: Path, work: Path, factor: int) -> Iterator[Harness]:
    """Everything anew: SyTest's users and rooms would meet those of the run before."""
    work.mkdir(parents=True)
    copy = work / "sytest"
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns(".git"))
    for extra in (SYTEST / "extra-tests").glob("*.pl"):
        shutil.copy(extra, copy / "tests" / "10apidoc")
    with EmbeddedPostgres(work / "postgres", report=lambda text: None, settings=_FAST) as postgres:
        databases = asyncio.run(_create_databases(postgres.url))
        yield Harness(copy, databases, work, factor)


async def _create_databases(url: str) -> list[str]:
    names = [f"server_{index}" for index in range(_SERVERS)]
    conn = await connect_once(url)
    try:
        for name in names:
            await conn.execute(f"CREATE DATABASE {name}")
    finally:
        await conn.close()
    place, _, options = url.partition("?")
    return [f"{place.rpartition('/')[0]}/{name}?{options}" for name in names]


def run_twice(checkout: Path, files: Sequence[str], *, work: Path, factor: int, again: bool) -> list[Result]:
    """Run, and where something unexpected failed, run those files once more on fresh servers."""
    with harness(checkout, work / "first", factor) as first:
        results = first.run(files)
    failed = compare(results, _expectation()).new_failures if again else []
    if failed:
        click.echo(f"{len(failed)} unexpected failures; their files run once more", err=True)
        with harness(checkout, work / "again", factor) as second:
            results = best(results, second.run(sorted({result.file for result in failed})))
    return results


def _expectation() -> Expectation:
    return read_expectation()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("checkout", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("files", nargs=-1)
@click.option("--work", type=click.Path(path_type=Path), help="Folder for logs and results; must not exist.")
@click.option("--timeout-factor", default=3, help="Multiplies SyTest's time limits [default: 3].")
@click.option("--again/--once", default=True, help="Run files with unexpected failures a second time.")
def main(
    checkout: Path, files: tuple[str, ...], *, work: Path | None, timeout_factor: int, again: bool
) -> None:
    """Run SyTest against two servers and compare with sytest_compat/expected."""
    signal.signal(
        signal.SIGTERM, lambda number, frame: sys.exit(1)
    )  # so that servers and database end with us
    expected = _expectation()
    with ExitStack() as stack:
        if work is None:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="homing-sytest-")))
        results = run_twice(checkout, files, work=work, factor=timeout_factor, again=again)
        results = without(results, expected.not_ours)
        write_table(work / "results.tsv", results)
    click.echo("\n".join(score_lines(results)))
    comparison = compare(results, expected)
    click.echo("\n".join(differences(comparison)))
    sys.exit(0 if comparison.agrees else 1)


if __name__ == "__main__":
    main()
