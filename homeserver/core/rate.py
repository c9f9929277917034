"""How often something may happen: the generic cell rate algorithm as a pure function of time.

One number describes a caller's whole past: the moment until which it has used up its share (the theoretical
arrival time). Nothing needs a timer, and a forgotten caller is one whose moment has passed.
"""

from attrs import field, frozen
from attrs.validators import ge, gt


@frozen
class Rate:
    """`burst` at once, and `per_second` on average."""

    per_second: float = field(validator=gt(0))
    burst: int = field(default=1, validator=ge(1))


def admit(used_until: float, now: float, rate: Rate) -> tuple[float, float]:
    """May one more happen at `now`? Gives the new `used_until` and the seconds to wait, 0 if admitted.

    Who is refused is not charged, so waiting as long as told is always enough.
    """
    interval = 1 / rate.per_second
    charged = max(used_until, now) + interval
    wait = charged - now - interval * rate.burst
    if wait > _TOLERANCE:
        return used_until, wait
    return charged, 0.0


_TOLERANCE = 1e-6  # rounding of a clock that counts in floats: less than what a caller could ever notice
