"""Servers for the session: one for all clients, three that federate, a Synapse; and node for JavaScript clients."""

import asyncio
from contextlib import contextmanager

import aiohttp
import pytest

from tests.interop.crypto_agent import running_agent
from tests.interop.federating_process import FederatingProcess, process_folder
from tests.interop.node import prepared_node
from tests.interop.server_process import ServerProcess, running
from tests.interop.sites import Site
from tests.interop.synapse_process import SynapseProcess


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """What fails is told with what the servers said last."""
    report = yield
    if report.failed:
        report.sections += [(f"log of {server.url}", server.last_words()) for server in running]
    return report


@pytest.fixture(scope="session")
def homing(tmp_path_factory):
    """A running `ServerProcess`; at the end its log must hold no surprise."""
    server = ServerProcess(tmp_path_factory.mktemp("homing"))
    server.start()
    yield server
    server.stop()
    assert not server.complaints()


@pytest.fixture(scope="session")
def node():
    """A node that runs the scripts in js/, with what they need installed."""
    return prepared_node()


@pytest.fixture
async def agent(node):
    """Whose devices of matrix-js-sdk encrypt."""
    async with running_agent(node) as running:
        yield running


@pytest.fixture(scope="session")
def our_process(postgres, authority, tmp_path_factory):
    with _federating(postgres, authority, tmp_path_factory) as process:
        yield process


@pytest.fixture(scope="session")
def another_process(postgres, authority, tmp_path_factory):
    with _federating(postgres, authority, tmp_path_factory) as process:
        yield process


@pytest.fixture(scope="session")
def third_process(postgres, authority, tmp_path_factory):
    with _federating(postgres, authority, tmp_path_factory) as process:
        yield process


@pytest.fixture(scope="session")
def synapse_process(authority, tmp_path_factory):
    process = SynapseProcess(tmp_path_factory.mktemp("synapse"), authority)
    process.start()
    yield process
    process.stop()


@pytest.fixture
def ours(our_process, people) -> Site:
    """A server of ours that federates over loopback."""
    return Site(our_process, people)


@pytest.fixture
def another(another_process, people) -> Site:
    """A second one."""
    return Site(another_process, people)


@pytest.fixture
def third(third_process, people) -> Site:
    """A third one."""
    return Site(third_process, people)


@pytest.fixture
def synapse(synapse_process, people) -> Site:
    """A Synapse."""
    return Site(synapse_process, people)


@pytest.fixture
async def people():
    """The connections of all users of a test."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
        yield http


@contextmanager
def _federating(postgres, authority, folders):
    """A running `FederatingProcess` on a database of its own; at the end its log must hold no surprise."""
    database = asyncio.run(postgres.clone())
    folder = process_folder(folders.mktemp("federating"), "data")
    process = FederatingProcess(folder, authority=authority, database_url=database)
    process.start()
    yield process
    process.stop()
    asyncio.run(postgres.drop(database))
    assert not process.complaints()
