"""Who has asked too often: M_LIMIT_EXCEEDED with the time to wait [cs "Rate limiting"]."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType

from homeserver.core.errors import limit_exceeded
from homeserver.core.rate import Rate, admit

# What one user, or one address where nobody is logged in, may do of each action. The names are those of the
# configuration; whatever has none of its own is "other".
DEFAULT_RATES: Mapping[str, Rate] = MappingProxyType(
    {
        "message": Rate(10, 50),
        "join": Rate(1, 20),
        "invite": Rate(0.5, 20),
        "create_room": Rate(0.2, 10),
        "login": Rate(0.2, 10),
        "registration": Rate(0.2, 10),
        "delayed_event": Rate(20, 200),
        "other": Rate(50, 200),
    }
)

MAX_CALLERS = 100_000  # 20 MB at most; the longest unseen are forgotten first


class RateLimiter:
    """Counts callers by (action, key). `rates` of None switches all limits off.

    `override` may give a caller a rate of its own by (action, key, the usual rate); None frees it.
    """

    def __init__(
        self,
        rates: Mapping[str, Rate] | None = DEFAULT_RATES,
        *,
        override: Callable[[str, str, Rate], Rate | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        max_callers: int = MAX_CALLERS,
    ) -> None:
        self._rates = rates
        self._override = override
        self._clock = clock
        self._max_callers = max_callers
        self._used_until: OrderedDict[tuple[str, str], float] = OrderedDict()

    def require_known(self, action: str) -> None:
        """Refuse at the start what would otherwise be unlimited by a slip of the pen."""
        if self._rates is not None and action not in self._rates:
            raise LookupError(f"no rate is configured for the action {action!r}")

    def check(self, action: str, key: str) -> None:
        """Count one `action` of `key`, or raise M_LIMIT_EXCEEDED."""
        rate = self._rate(action, key)
        if rate is None:
            return
        caller = (action, key)
        now = self._clock()
        used_until, wait = admit(self._used_until.get(caller, 0.0), now, rate)
        if wait:
            raise limit_exceeded(math.ceil(wait * 1000))
        self._used_until[caller] = used_until
        self._used_until.move_to_end(caller)
        if len(self._used_until) > self._max_callers:
            self._used_until.popitem(last=False)

    def forget(self, action: str, key: str) -> None:
        """Give `key` its full share back, as after a login that went well."""
        self._used_until.pop((action, key), None)

    def _rate(self, action: str, key: str) -> Rate | None:
        if self._rates is None:
            return None
        rate = self._rates[action]
        return rate if self._override is None else self._override(action, key, rate)
