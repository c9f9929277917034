"""The rate limiter's arithmetic: bursts, averages, and that waiting as told is enough."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.rate import Rate, admit


@pytest.mark.parametrize(
    ("times", "admitted"),
    [
        ([0, 0, 0, 0], [True, True, True, False]),  # the burst
        ([0, 0, 0, 0.4, 0.5, 0.6], [True, True, True, False, True, False]),  # then the average
        ([0, 0, 0, 100, 100, 100, 100], [True, True, True, True, True, True, False]),  # a pause saves no more
    ],
)
def test_two_per_second_three_at_once(times, admitted):
    used_until, got = 0.0, []
    for now in times:
        used_until, wait = admit(used_until, 1000 + now, Rate(2, 3))
        got.append(wait == 0)
    assert got == admitted


@given(
    st.floats(0.01, 1000),
    st.integers(1, 100),
    st.lists(st.floats(0, 10), min_size=1, max_size=50),
)
def test_never_more_than_promised_and_waiting_is_enough(per_second, burst, pauses):
    rate, now, used_until, count = Rate(per_second, burst), 5000.0, 0.0, 0
    start = now
    for pause in pauses:
        now += pause
        used_until, wait = admit(used_until, now, rate)
        if wait:
            _, again = admit(used_until, now + wait, rate)
            assert again == 0
        else:
            count += 1
    assert count <= burst + (now - start) * per_second + 1e-3 * per_second


@pytest.mark.parametrize(("per_second", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_rate_must_let_something_through(per_second, burst):
    with pytest.raises(ValueError):
        Rate(per_second, burst)
