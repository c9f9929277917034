"""The two servers under test: how each is started, and what both give the loads."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from attrs import frozen

from benchmarks.connection import Address
from benchmarks.measure import Gauge
from benchmarks.postgres import Cluster, postgres
from benchmarks.processes import Argument, Child, CommandFailed, start_child
from benchmarks.synapse import Synapse
from tests.kit.loopback import Authority

START_SECONDS = 120.0
HOST = "127.0.0.1"

# Accounts are made before the clock runs; cheap hashes shorten the wait. Both servers log warnings only.
HOMING_CONFIG = """\
[passwords]
argon2_memory_kib = 64
argon2_passes = 1

[logging]
level = "warning"

[federation]
certificate_authorities = "{authorities}"
allowed_networks = ["127.0.0.0/8"]
"""


@frozen
class Site:
    """A running server with its database, ready for a load."""

    name: str
    address: Address
    gauge: Gauge
    cluster: Cluster
    server_pid: int
    authority: Authority

    @property
    def server_name(self) -> str:
        return f"localhost:{self.address.port}"


@asynccontextmanager
async def homing(folder: Path, program: Path, authority: Authority) -> AsyncIterator[Site]:
    """Our server, as an operator starts it, without rate limits."""
    address = Address(HOST, _free_port())
    async with postgres(folder, "homing") as cluster:
        data = folder / "data"
        data.mkdir(mode=0o700)
        (data / "homeserver.toml").write_text(HOMING_CONFIG.format(authorities=authority.path))
        command: list[Argument] = [program, "run", "--server-name", f"localhost:{address.port}"]
        command += ["--listen", f"{address.host}:{address.port}", "--data", data]
        command += ["--database-url", cluster.url, "--open-registration", "--no-rate-limits"]
        child = await start_child(command, log=folder / "homing.log", pipe_output=True)
        async with _serving(
            Site("Homing", address, Gauge(child.pid, cluster.pid), cluster, child.pid, authority), child
        ) as site:
            await _ready_line(child, folder / "homing.log")
            yield site


@asynccontextmanager
async def synapse(folder: Path, installed: Synapse, authority: Authority) -> AsyncIterator[Site]:
    """One Synapse process with its defaults, without rate limits."""
    address = Address(HOST, _free_port())
    async with postgres(folder, "synapse") as cluster:
        config = installed.write_config(folder, address, cluster, authority.path)
        command: list[Argument] = [installed.python, "-m", "synapse.app.homeserver", "-c", config]
        await installed.make_keys(config)
        child = await start_child(command, log=folder / "synapse.log")
        async with _serving(
            Site("Synapse", address, Gauge(child.pid, cluster.pid), cluster, child.pid, authority), child
        ) as site:
            await _accepting(child, address, folder / "synapse.log")
            yield site


@asynccontextmanager
async def _serving(site: Site, child: Child) -> AsyncIterator[Site]:
    try:
        yield site
    finally:
        await child.stop(signal.SIGTERM)


async def _ready_line(child: Child, log: Path) -> None:
    """Wait for the one line that it prints."""
    output = child.process.stdout
    assert output is not None
    async with asyncio.timeout(START_SECONDS):
        while line := await output.readline():
            if line.startswith(b"ready "):
                return
    raise CommandFailed(f"the server ended before it was ready:\n{_last_words(log)}")


async def _accepting(child: Child, address: Address, log: Path) -> None:
    """Synapse says nothing when it is ready: try to connect."""
    async with asyncio.timeout(START_SECONDS):
        while child.process.returncode is None:
            try:
                _, writer = await asyncio.open_connection(address.host, address.port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.1)
                continue
            writer.close()
            return
    raise CommandFailed(f"Synapse ended before it was ready:\n{_last_words(log)}")


def default_program() -> Path:
    """The `homeserver` command of the environment that the benchmark runs in."""
    return Path(sys.executable).with_name("homeserver")


def _last_words(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
