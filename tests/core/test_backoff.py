"""Waits between attempts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.backoff import Backoff

HALF = 0.5  # luck that changes nothing


@pytest.mark.parametrize(
    ("failures", "wait"), [(0, 0), (1, 1), (2, 3), (3, 9), (11, 59049), (12, 86400), (10**9, 86400)]
)
def test_each_wait_is_longer(failures, wait):
    assert Backoff().wait(failures, HALF) == pytest.approx(wait)


@given(st.integers(1, 100), st.floats(0, 1))
def test_luck_spreads_but_does_not_decide(failures, luck):
    full = Backoff().wait(failures, HALF)
    assert 0.79 * full <= Backoff().wait(failures, luck) <= 1.21 * full
