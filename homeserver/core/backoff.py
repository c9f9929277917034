"""When to try again after failures: a pure function of how many there were."""

from attrs import field, frozen
from attrs.validators import ge, gt

_MANY = 64  # failures after which nothing grows any more
_SPREAD = 0.2  # part of the wait, up or down, that is left to luck


@frozen
class Backoff:
    """The first wait and the longest, in seconds; each is `factor` times the one before."""

    first: float = field(default=1.0, validator=gt(0))
    longest: float = field(default=24 * 3600.0, validator=gt(0))
    factor: float = field(default=3.0, validator=ge(1))

    def wait(self, failures: int, luck: float) -> float:
        """Seconds to wait after so many failures in a row. `luck` from 0 to 1 spreads those who wait together."""
        if failures < 1:
            return 0.0
        full = min(self.longest, self.first * self.factor ** min(failures - 1, _MANY))
        return full * (1 - _SPREAD + 2 * _SPREAD * luck)
