"""What operators see of other servers: how each fares when we ask it, and what waits for it."""

from attrs import frozen

from federation.backoff import Destinations
from federation.sender import Sender
from storage import destinations as table
from storage import outbound_events, outbound_to_device
from storage.database import Database
from storage.destinations import Destination
from storage.outbound_events import Span

COUNTED_AT_MOST = 10_000


@frozen
class DestinationStatus:
    """One server. `events` None: some wait, and nobody has counted them."""

    standing: Destination
    state: str  # "up", "sending", "behind", "down"
    events: int | None
    messages: int  # to-device EDUs


@frozen
class Overview:
    """Looks, and lets operators say "now"."""

    database: Database
    destinations: Destinations
    sender: Sender

    async def page(self, after: str, most: int) -> list[DestinationStatus]:
        """Servers by name, behind `after`."""
        async with self.database.read() as conn:
            rows = await table.page(conn, after, most)
            messages = await outbound_to_device.counts(conn, [row.server_name for row in rows])
        return [
            self._status(row, self._waiting(row.server_name), messages.get(row.server_name, 0))
            for row in rows
        ]

    async def one(self, name: str) -> DestinationStatus | None:
        """One server, its waiting events counted; None: we have never had to do with it."""
        queue = self.sender.roster.known(name)
        async with self.database.read() as conn:
            row = await table.find(conn, name)
            messages = await outbound_to_device.counts(conn, [name])
            events = self._waiting(name)
            if queue is not None and events is None:
                span = Span(queue.delivered, self.sender.position)
                rooms = await outbound_events.missed_rooms(conn, name, span.after, COUNTED_AT_MOST)
                our_name = self.sender.packing.reading.our_name
                nids = [nid for nid, _ in rooms]
                events = await outbound_events.count_to_send(conn, our_name, nids, span, COUNTED_AT_MOST)
        if row is None and queue is None and not messages:
            return None
        return self._status(row or Destination(name), events, messages.get(name, 0))

    def retry(self, name: str) -> None:
        """Whatever waits for the server is tried now."""
        self.destinations.retry_now(name)
        self.sender.retry_now(name)

    def _waiting(self, name: str) -> int | None:
        queue = self.sender.roster.known(name)
        if queue is None or not queue.has_events:
            return 0
        kept = len(queue.waiting) + queue.missed
        return kept or None

    def _status(self, row: Destination, events: int | None, messages: int) -> DestinationStatus:
        """What memory knows is newer than the table."""
        name = row.server_name
        known = self.destinations.standing(name)
        row = known if known.failures or known.last_success else row
        return DestinationStatus(row, self._state(name, row, idle=events == 0), events, messages)

    def _state(self, name: str, row: Destination, *, idle: bool) -> str:
        if row.failures:
            return "down"
        if name in self.sender.lanes.serving:
            return "sending"
        return "up" if idle else "behind"
