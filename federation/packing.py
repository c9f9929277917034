"""Transactions in the making: what one server gets next."""

import secrets
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import count

from attrs import field, frozen

from federation.catch_up import CatchUpReading
from federation.destination_queue import DestinationQueue, Outgoing, Parcel
from federation.outbound_edus import EduSource, Place
from federation.protocol import transactions
from federation.protocol.transactions import MAX_EDUS, MAX_PDUS
from homeserver.services.now import Clock, now_ms
from storage.outbound_events import OutboundEvent

MAX_BYTES = 256 * 1024  # of events in a transaction, beyond the first one


def _run_of_this_process() -> str:
    return secrets.token_hex(6)


@frozen(eq=False)
class Packing:
    """Makes parcels. `position`: up to where the clock has been followed, so that later events will be offered."""

    reading: CatchUpReading
    position: Callable[[], int]
    clock: Clock = now_ms
    _run: str = field(factory=_run_of_this_process)
    _numbers: "count[int]" = field(factory=count)

    async def next(self, queue: DestinationQueue) -> Parcel | None:
        """The next transaction for a server; None: nothing is waiting.

        Where reading fails, the queue is what it was: the events come last, since with them its bookmark moves.
        """
        before = set(queue.sources)
        try:
            edus, sources = await self._lasting(queue)
            events, upto = await (self._missed(queue) if queue.behind else self._fresh(queue))
        except BaseException:
            queue.sources |= before
            raise
        edus += queue.mailbox.take(self.clock(), MAX_EDUS - len(edus))
        if not events and not edus:
            return None
        event_ids = tuple(event.event_id for event in events)
        body = transactions.build(
            self.reading.our_name, self.clock(), pdus=[event.json for event in events], edus=edus
        )
        return Parcel(self._txn_id(event_ids, edus), body, upto, event_ids, len(edus), tuple(sources))

    async def _fresh(self, queue: DestinationQueue) -> tuple[list[Outgoing], int]:
        events = fitting(list(queue.waiting))
        return events, events[-1].position if events else queue.delivered

    async def _missed(self, queue: DestinationQueue) -> tuple[list[Outgoing], int]:
        """The next page of what the server has not got, or what came since if that was all."""
        if queue.catch_up is None:
            queue.catch_up = await self.reading.begin(queue.name, queue.delivered, self.position())
        page = await queue.catch_up.page(self.reading, queue.delivered)
        events = fitting(await self.leaving(page.events))
        if len(events) < len(page.events):
            return events, events[-1].position
        if page.last:
            queue.caught_up(page.upto)
        if not events:
            queue.delivered = max(queue.delivered, page.upto)
        return events, page.upto

    async def leaving(self, events: Sequence[OutboundEvent]) -> list[Outgoing]:
        """Events in the form in which they leave."""
        if any(event.redacted for event in events):
            async with self.reading.database.read() as conn:
                events = await self.reading.routes.shown(conn, events)
        return [Outgoing(event.position, event.event_id, event.json) for event in events]

    async def _lasting(self, queue: DestinationQueue) -> tuple[list[bytes], list[tuple[EduSource, Place]]]:
        """EDUs that must not be lost; what may be comes after them."""
        edus: list[bytes] = []
        places: list[tuple[EduSource, Place]] = []
        for source in list(queue.sources):
            room = MAX_EDUS - len(edus)
            if room <= 0:
                break
            queue.sources.discard(source)
            batch = await source.pending(queue.name, room)
            if batch is None:
                continue
            edus += batch.edus
            places.append((source, batch.upto))
            if len(batch.edus) >= room:
                queue.sources.add(source)
        return edus, places

    def _txn_id(self, event_ids: Sequence[str], edus: Sequence[bytes]) -> str:
        """The same for the same events and EDUs, also after a restart; EDUs without events are never the same."""
        if not event_ids:
            return f"{self._run}-{next(self._numbers)}"
        digest = sha256("\n".join(event_ids).encode())
        for edu in edus:
            digest.update(b"\n" + edu)
        return digest.hexdigest()[:32]


def fitting(events: list[Outgoing]) -> list[Outgoing]:
    """As many of the first events as fit into a transaction."""
    size = 0
    for number, event in enumerate(events[:MAX_PDUS]):
        size += len(event.json)
        if size > MAX_BYTES and number:
            return events[:number]
    return events[:MAX_PDUS]
