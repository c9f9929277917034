"""What one server is still to get: a bookmark, and in memory no more than what is on its way.

Everything up to `delivered` has arrived. A server that keeps up has what follows in `waiting`; one that does not (it
is down, or slow, or this process has just started) is `behind`: its events are in the database only, and are read from
there when it can be reached. The transaction whose outcome is unknown is kept, and repeated as it is.
"""

from collections import deque

from attrs import define, field, frozen

from federation.catch_up import CatchUp
from federation.mailbox import Mailbox
from federation.outbound_edus import EduSource, Place

MAX_WAITING = 50  # events in memory: one transaction
MAX_WAITING_BYTES = 128 * 1024


@frozen
class Outgoing:
    """An event in the form in which it leaves."""

    position: int
    event_id: str
    json: bytes = field(repr=False)


@frozen
class Parcel:
    """A transaction, made once. With its arrival everything up to `upto` has arrived, and each source's EDUs."""

    txn_id: str
    body: bytes = field(repr=False)
    upto: int
    event_ids: tuple[str, ...]
    edus: int
    sources: tuple[tuple[EduSource, Place], ...]


@define(eq=False)
class DestinationQueue:
    """One server."""

    name: str
    delivered: int
    behind: bool = False
    parcel: Parcel | None = None
    refusals: int = 0  # of that parcel, by a server that is up
    newest: int = 0  # position of the last event offered
    missed: int = 0  # events since it fell behind, as far as this process knows
    catch_up: CatchUp | None = None
    waiting: deque[Outgoing] = field(factory=deque)
    mailbox: Mailbox = field(factory=Mailbox)
    sources: set[EduSource] = field(factory=set)  # those that may have something
    _bytes: int = 0

    @property
    def has_events(self) -> bool:
        """Are there events that have not arrived?"""
        return self.behind or bool(self.waiting) or (self.parcel is not None and bool(self.parcel.event_ids))

    @property
    def has_anything(self) -> bool:
        """Is there anything to send?"""
        return self.has_events or self.parcel is not None or bool(self.sources) or len(self.mailbox) > 0

    def offer(self, event: Outgoing) -> None:
        """An event for this server, later than all that were offered before; what comes again makes no difference."""
        if event.position <= self.newest:
            return
        if not self.has_events:
            self.delivered = max(self.delivered, event.position - 1)
        self.newest = event.position
        if not self.behind and self._is_full(event):
            self.fall_behind()
        if self.behind:
            self.missed += 1
        else:
            self.waiting.append(event)
            self._bytes += len(event.json)

    def fall_behind(self) -> None:
        """Keep nothing in memory but the parcel: what follows `delivered` is read when it can be sent."""
        self.catch_up = None
        self.behind = self.has_events
        self.missed += len(self.waiting)
        self.waiting.clear()
        self._bytes = 0

    def caught_up(self, upto: int) -> None:
        """All events up to a position have been read; unless more were missed meanwhile, it keeps up from here."""
        self.catch_up = None
        if self.newest <= upto:
            self.behind = False
            self.missed = 0

    def arrived(self, parcel: Parcel) -> None:
        """The parcel has reached the server."""
        self.parcel, self.refusals = None, 0
        self.delivered = max(self.delivered, parcel.upto)
        self.missed = max(0, self.missed - len(parcel.event_ids))
        while self.waiting and self.waiting[0].position <= parcel.upto:
            self._bytes -= len(self.waiting.popleft().json)

    def forget_parcel(self) -> None:
        """What was in it is read again from where it came, but for what may be lost."""
        if self.parcel is not None:
            self.fall_behind()
            self.sources |= {source for source, _ in self.parcel.sources}
            self.parcel = None

    def _is_full(self, event: Outgoing) -> bool:
        return len(self.waiting) >= MAX_WAITING or self._bytes + len(event.json) > MAX_WAITING_BYTES
