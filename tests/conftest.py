"""Fixtures of all tests: a database server for the session, a fresh database for each test that asks for one."""

from contextlib import ExitStack

import pytest
import structlog

from storage.database import Database, PoolSizes
from tests.kit.federation import authority, homing, homings, peer, peers  # noqa: F401 (fixtures)
from tests.kit.oauth import oauth  # noqa: F401 (a fixture)
from tests.kit.postgres import prepared, running_server
from tests.kit.server import plain_config, running
from tests.kit.syncing import syncing  # noqa: F401 (a fixture)
from tests.kit.their_devices import their  # noqa: F401 (a fixture)

# Other tracebacks are slow to draw: a server that fails often would seem to hang.
_PLAIN = structlog.dev.plain_traceback
_STAMPS = [structlog.contextvars.merge_contextvars, structlog.processors.add_log_level]
_session = pytest.StashKey[ExitStack]()


def pytest_configure(config):
    pytest.register_assert_rewrite("tests.interop.stories")
    structlog.configure(processors=[*_STAMPS, structlog.dev.ConsoleRenderer(exception_formatter=_PLAIN)])
    config.stash[_session] = ExitStack()


def pytest_unconfigure(config):
    config.stash[_session].close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """With xdist: one server for all workers, started and ended by the process that leads them."""
    config = node.config
    if not hasattr(config, "homing_server"):
        config.homing_server = config.stash[_session].enter_context(running_server())
    node.workerinput["homing_server"] = config.homing_server


@pytest.fixture(scope="session")
def postgres(request):
    """The session's server (`tests.kit.postgres.TestPostgres`), for tests that make databases of their own kind."""
    given = getattr(request.config, "workerinput", {})
    with ExitStack() as stack:
        url = given.get("homing_server") or stack.enter_context(running_server())
        yield prepared(url, given.get("workerid", "main"))


@pytest.fixture
async def pg_url(postgres):
    """The URL of a fresh database with today's schema."""
    url = await postgres.clone()
    yield url
    await postgres.drop(url)


@pytest.fixture
async def database(pg_url):
    """A connected `Database` on a fresh database."""
    database = Database(url=pg_url, sizes=PoolSizes(writers=5, readers=5))
    await database.connect()
    yield database
    await database.close()


@pytest.fixture
async def server(pg_url, tmp_path):
    """A running server with open registration (`tests.kit.server.RunningServer`)."""
    async with running(pg_url, plain_config(tmp_path)) as server:
        yield server
