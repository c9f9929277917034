"""The compared designs give the right states: the trials check what they measure."""

import pytest

from benchmarks.state_storage.__main__ import DESIGNS
from benchmarks.state_storage.trials import LargeRoom, Scale, small_rooms
from storage.database import connect_once

SCALE = Scale(members=2_100, changes=600, lookups=20, wholes=2, rooms=3, keys=70)


@pytest.fixture
async def conn(pg_url):
    conn = await connect_once(pg_url)
    yield conn
    await conn.close()


@pytest.mark.parametrize("letter", DESIGNS)
async def test_a_large_room(conn, letter):
    trial = LargeRoom(DESIGNS[letter](), SCALE)
    await trial.run(conn)
    assert len(trial.figures) == 15


@pytest.mark.parametrize("letter", DESIGNS)
async def test_small_rooms_grow_from_nothing(conn, letter):
    design = DESIGNS[letter]()
    assert len(await small_rooms(conn, design, SCALE)) == 3
