"""Whatever other servers do: afterwards the database of a server of ours is as it must be."""

import pytest

from tests.kit.invariants import broken


@pytest.fixture
async def homing(homing):
    """As everywhere, with a look at the database when the test is over."""
    yield homing
    if homing.part is not None:
        async with homing.database.read() as conn:
            assert await broken(conn) == {}
