"""Collections of the oldest generation must stay rare while a server serves; freed memory goes back to the system."""

import gc

import pytest

from homeserver.app.garbage import GROWN, Holes, holes, resident_bytes, settle


@pytest.fixture
def collector():
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


@pytest.mark.usefixtures("collector")
def test_what_is_there_at_the_start_is_never_walked_again():
    settle()
    assert gc.get_freeze_count() > 10_000
    before = gc.get_stats()[2]["collections"]
    kept = [[n] for n in range(300_000)]
    assert gc.get_stats()[2]["collections"] == before
    assert len(kept) == 300_000


async def test_when_holes_are_looked_for():
    sizes, trimmed = [100], []
    found = Holes(lambda: trimmed.append(sizes[-1]), lambda: sizes[-1])

    async def at(size, then):
        """Memory of so much, of which `then` is left when the holes are gone."""
        sizes.append(size)
        found.trim = lambda: (trimmed.append(size), sizes.append(then))
        before = len(trimmed)
        await found.look()
        return len(trimmed) > before

    assert not await at(100 + GROWN, 0)
    assert await at(101 + GROWN, 100 + GROWN)  # all of it is in use
    assert await at(100 + GROWN, 200)  # and free some time later
    assert not await at(200 + GROWN, 0)
    assert await at(201 + GROWN, 150)
    assert await at(160, 150)
    assert not await at(160, 150)


@pytest.mark.skipif(holes() is None, reason="another C library")
async def test_holes_go_back():
    found = holes()
    before = resident_bytes()
    blocks = [bytes(700) for _ in range(60_000)]
    kept = blocks[::100]
    del blocks
    assert resident_bytes() > before + GROWN
    await found.look()
    assert resident_bytes() < before + GROWN
    assert len(kept) == 600
