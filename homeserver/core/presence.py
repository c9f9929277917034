"""Which presence a user has, by what their devices say and when they last did something [cs "Presence"]."""

from collections.abc import Iterable

ONLINE, UNAVAILABLE, OFFLINE = "online", "unavailable", "offline"
BUSY = ("busy", "org.matrix.msc3026.busy")  # clients use both names [MSC3026]
STATES = (ONLINE, OFFLINE, UNAVAILABLE, *BUSY)

IDLE_AFTER = 5 * 60_000  # milliseconds without doing anything, after which somebody is unavailable

_RANK = {OFFLINE: 0, UNAVAILABLE: 1, ONLINE: 2, BUSY[1]: 3, BUSY[0]: 4}


def together(states: Iterable[str]) -> str:
    """The presence of a user whose devices have these: the most present one counts."""
    return max(states, key=_RANK.__getitem__, default=OFFLINE)


def seen(state: str, last_active_ts: int, now: int) -> str:
    """What others see: who is online and has done nothing for long is unavailable [cs "Idle timeout"]."""
    return UNAVAILABLE if state == ONLINE and now - last_active_ts >= IDLE_AFTER else state
