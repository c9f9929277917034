"""Who is counted together, who is exempt, and that memory is bounded."""

import pytest

from homeserver.core.errors import MatrixError
from homeserver.core.rate import Rate
from homeserver.web.rate_limit import RateLimiter

RATES = {"message": Rate(1, 1), "login": Rate(1, 1)}


def limiter(**options) -> RateLimiter:
    return RateLimiter(RATES, clock=lambda: 1000.0, **options)


def test_the_error_has_the_time_to_wait():
    limits = limiter()
    limits.check("message", "a")
    with pytest.raises(MatrixError) as refused:
        limits.check("message", "a")
    assert (refused.value.status, refused.value.errcode) == (429, "M_LIMIT_EXCEEDED")
    assert refused.value.extra == {"retry_after_ms": 1000}


def test_actions_and_keys_are_counted_apart():
    limits = limiter()
    for action, key in (("message", "a"), ("message", "b"), ("login", "a")):
        limits.check(action, key)


def test_an_override_gives_a_rate_or_frees():
    own = {"bridge": None, "busy": Rate(1, 3)}
    limits = limiter(override=lambda action, key, usual: own.get(key, usual))
    for _ in range(50):
        limits.check("message", "bridge")
    for _ in range(3):
        limits.check("message", "busy")
    with pytest.raises(MatrixError):
        limits.check("message", "busy")


def test_no_rates_no_limits():
    limits = RateLimiter(None)
    limits.require_known("anything")
    for _ in range(100):
        limits.check("anything", "a")


def test_an_unknown_action_is_found_at_the_start():
    with pytest.raises(LookupError, match="mesage"):
        limiter().require_known("mesage")


def test_a_share_can_be_given_back():
    limits = limiter()
    limits.check("login", "a")
    limits.forget("login", "a")
    limits.check("login", "a")


def test_the_longest_unseen_are_forgotten_first():
    limits = limiter(max_callers=2)
    for key in "abc":
        limits.check("message", key)
    limits.check("message", "a")
    with pytest.raises(MatrixError):
        limits.check("message", "c")
