"""The events that a server has missed, read from the database in the order of the clock, page by page.

Begun when the server can be reached again: it looks up once which rooms the server is or was in, and where in each the
newest events begin that are still worth sending (of the others the server asks for what it wants). What is read then is
a window of the clock in all those rooms at once, so the bookmark moves with each page.
"""

from collections.abc import Sequence

from attrs import define, field, frozen

from federation.routing import Routes
from storage import outbound_events
from storage.database import Connection, Database
from storage.outbound_events import OutboundEvent, Span

NEWEST = 1_000  # events of a room that are sent after an outage
PAGE = 50
_FIRST_WINDOW = 2_000  # positions
_WIDEST_WINDOW = 50_000_000
_FEW = PAGE // 4


@frozen
class Page:
    """Events for the server, all that there are up to `upto`; `last`: the end has been reached."""

    events: Sequence[OutboundEvent]
    upto: int
    last: bool


@define(eq=False)
class CatchUp:
    """One server's way from its bookmark to where the clock stood when this began."""

    server: str
    target: int
    rooms: Sequence[tuple[int, int]]  # room_nid, position from which on events are sent
    _window: int = field(default=_FIRST_WINDOW, init=False)

    async def page(self, reading: "CatchUpReading", after: int) -> Page:
        """The next events after a position: at least one, unless it is the last page."""
        while self.rooms and after < self.target:
            window = Span(after, min(self.target, after + self._window))
            async with reading.database.read() as conn:
                found = await outbound_events.to_send(conn, reading.our_name, self.rooms, window, PAGE)
                theirs = await reading.for_server(conn, found, self.server)
            full = len(found) == PAGE
            after = found[-1].position if full else window.upto
            self._window = self._next_window(len(found))
            if theirs:
                return Page(theirs, after, last=after >= self.target)
        return Page((), self.target, last=True)

    def _next_window(self, found: int) -> int:
        if found == PAGE:
            return max(PAGE, self._window // 2)
        return min(_WIDEST_WINDOW, self._window * 4) if found < _FEW else self._window


@frozen
class CatchUpReading:
    """What reads."""

    database: Database
    our_name: str
    routes: Routes

    async def begin(self, server: str, after: int, target: int) -> CatchUp:
        """Find the rooms."""
        async with self.database.read() as conn:
            rooms = await outbound_events.missed_rooms(conn, server, after, NEWEST)
        return CatchUp(server, target, rooms)

    async def for_server(
        self, conn: Connection, events: Sequence[OutboundEvent], server: str
    ) -> list[OutboundEvent]:
        """Those of the events that the server is to get."""
        routed = await self.routes.of(conn, events)
        return [event for event, servers in zip(events, routed, strict=True) if server in servers]
