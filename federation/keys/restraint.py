"""When not to ask for keys: servers that did not answer, keys that nobody had, and too many questions to one server.

Whoever speaks to us can make us ask, by naming a key that we do not know; so every server is asked at a bounded rate.
"""

from collections import OrderedDict

from attrs import define, field

from homeserver.core.rate import Rate, admit
from storage.server_keys import KeyName

SECOND = 1000  # all times in ms
HOUR = 3600 * SECOND
RATE = Rate(per_second=1 / 30, burst=5)  # questions to one server
SPEAKING = 30 * SECOND  # a server that speaks to us is not left alone for longer than this
MAX_REMEMBERED = 10_000  # of each kind


@define(eq=False)
class Setbacks:
    """How long to leave something alone: longer after each failure in a row, up to `most`; not after `free` ones."""

    first: int
    most: int
    free: int = 0
    _failed: OrderedDict[object, tuple[int, int]] = field(factory=OrderedDict, init=False)

    def are_over(self, what: object, now: int, *, most: int | None = None) -> bool:
        """May it be tried (again)? `most` makes the wait shorter than usual."""
        if what not in self._failed:
            return True
        times, at = self._failed[what]
        if times <= self.free:
            return True
        longest = self.most if most is None else min(most, self.most)
        return now >= at + min(self.first << 2 * min(times - self.free - 1, 10), longest)

    def add(self, what: object, now: int) -> None:
        """It failed (once more)."""
        times, _ = self._failed.pop(what, (0, 0))
        self._failed[what] = (times + 1, now)
        if len(self._failed) > MAX_REMEMBERED:
            self._failed.popitem(last=False)

    def end(self, what: object) -> None:
        """It worked."""
        self._failed.pop(what, None)


@define(eq=False)
class Restraint:
    """What was asked for in vain, and how often each server was asked."""

    servers: Setbacks = field(factory=lambda: Setbacks(5 * SECOND, HOUR, free=1))
    keys: Setbacks = field(factory=lambda: Setbacks(30 * SECOND, 12 * HOUR))
    _used_until: OrderedDict[str, float] = field(factory=OrderedDict, init=False)

    def may_seek(self, name: KeyName, now: int, *, speaking: bool = False) -> bool:
        """Is it worth asking anybody for this key?"""
        return self.keys.are_over(name, now, most=SPEAKING if speaking else None)

    def may_ask(self, server: str, now: int, *, speaking: bool = False) -> bool:
        """May the server be asked for its keys? If so it counts as asked. `speaking`: it has just spoken to us."""
        if not self.servers.are_over(server, now, most=SPEAKING if speaking else None):
            return False
        used_until, wait = admit(self._used_until.pop(server, 0.0), now / SECOND, RATE)
        self._used_until[server] = used_until
        if len(self._used_until) > MAX_REMEMBERED:
            self._used_until.popitem(last=False)
        return not wait
