"""One server for all clients of the session, and the node programs of the JavaScript ones."""

import pytest

from tests.interop.node import prepared_node
from tests.interop.server_process import ServerProcess


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
