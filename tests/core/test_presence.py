"""What several devices make of their user's presence [cs "Presence"]."""

import pytest

from homeserver.core.presence import IDLE_AFTER, seen, together


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        ([], "offline"),
        (["offline", "unavailable"], "unavailable"),
        (["unavailable", "online"], "online"),
        (["online", "busy", "unavailable"], "busy"),
        (["online", "org.matrix.msc3026.busy"], "org.matrix.msc3026.busy"),
    ],
)
def test_the_most_present_device_counts(states: list[str], shown: str) -> None:
    assert together(states) == shown
    assert together(reversed(states)) == shown


@pytest.mark.parametrize(
    ("state", "idle", "shown"),
    [
        ("online", 0, "online"),
        ("online", IDLE_AFTER - 1, "online"),
        ("online", IDLE_AFTER, "unavailable"),
        ("busy", IDLE_AFTER, "busy"),  # who is in a call does nothing else
        ("offline", IDLE_AFTER, "offline"),
    ],
)
def test_who_does_nothing_is_idle(state: str, idle: int, shown: str) -> None:
    assert seen(state, 1_000, 1_000 + idle) == shown
