"""Collections of the oldest generation must stay rare while a server serves."""

import gc

import pytest

from homeserver.app.garbage import settle


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
