"""How much of what other servers send may be in the works: bounded by server and in all, in memory and on disk.

Beyond that a server is asked to come again later, before anything of its transaction is kept. The numbers of rows are
this process's view; another process's rows are seen at the next start.
"""

from collections import Counter

from attrs import define, field

from homeserver.core.errors import limit_exceeded

RUNNING_EACH = 8  # transactions of one server at once; the specification has them send one
RUNNING_BYTES = 64 * 1024 * 1024  # of bodies, of all servers
WAITING_EACH = 5_000  # PDUs of one server on disk without a verdict
WAITING_ALL = 50_000
RETRY_RUNNING, RETRY_WAITING = 1_000, 10_000  # milliseconds


@define(eq=False)
class Backlog:
    """Counts what runs and what waits."""

    _running: Counter[str] = field(factory=Counter)
    _waiting: Counter[str] = field(factory=Counter)
    _bytes: int = 0
    total: int = 0

    def enter(self, origin: str, size: int) -> None:
        """A transaction begins. Raises M_LIMIT_EXCEEDED."""
        crowded = self._bytes > 0 and self._bytes + size > RUNNING_BYTES
        if crowded or self._running[origin] >= RUNNING_EACH:
            raise limit_exceeded(RETRY_RUNNING)
        self._running[origin] += 1
        self._bytes += size

    def leave(self, origin: str, size: int) -> None:
        """A transaction is through."""
        self._bytes -= size
        self._running[origin] -= 1
        if not self._running[origin]:
            del self._running[origin]

    def require_room(self, origin: str, count: int) -> None:
        """May so many PDUs more wait? Raises M_LIMIT_EXCEEDED."""
        if not count:
            return
        if self._waiting[origin] + count > WAITING_EACH or self.total + count > WAITING_ALL:
            raise limit_exceeded(RETRY_WAITING)

    def add(self, origin: str, count: int) -> None:
        """So many PDUs more are on disk."""
        self._waiting[origin] += count
        self.total += count

    def remove(self, origin: str, count: int = 1) -> None:
        """So many are through."""
        count = min(count, self._waiting[origin])
        self._waiting[origin] -= count
        self.total -= count
        if not self._waiting[origin]:
            del self._waiting[origin]
