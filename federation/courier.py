"""One transaction at a time for one server: pack it, send it, and remember what became of it.

A transaction whose outcome is unknown is repeated as it was, under the same id [ss "Transactions"], for as long as it
is kept: there are few bytes for that, and none for a server that has been dead for long. After that its events are read
anew.
"""

import random
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Protocol

import structlog
from attrs import define, field

from federation.backoff import Destinations
from federation.destination_queue import DestinationQueue, Parcel
from federation.packing import Packing
from federation.roster import Roster
from federation.transport.requests import PeerFault, PeerRefused
from homeserver.core.backoff import Backoff

log = structlog.get_logger(__name__)

KEPT_BYTES = 8 * 1024 * 1024
KEPT_FOR = 60_000  # ms until the next attempt: beyond, the transaction is made anew
PATIENCE_WITH_REFUSALS = 6  # of one transaction, by a server that says that it is wrong
_WRONG = (400, 413)
_REFUSED = Backoff(first=2, longest=3600, factor=2)


class Transactions(Protocol):
    """The road to other servers."""

    async def send(self, destination: str, txn_id: str, body: bytes) -> Mapping[str, Mapping[str, Any]]:
        """Hand over a transaction; gives what became of each PDU: event id to {} or {"error": …}."""
        ...


@define
class Carried:
    """Counts since the start, for the metrics."""

    events: int = 0
    edus: int = 0
    transactions: int = 0
    failures: int = 0


@define(eq=False)
class Courier:
    """Carries transactions."""

    roster: Roster
    packing: Packing
    transactions: Transactions
    destinations: Destinations
    carried: Carried = field(factory=Carried)
    _kept: OrderedDict[str, DestinationQueue] = field(factory=OrderedDict)
    _kept_bytes: int = 0

    async def serve(self, name: str) -> int | None:
        """One transaction. Gives when there is more to do, in ms (0: at once); None: nothing is waiting."""
        queue = self.roster.known(name)
        if queue is None:
            return None
        try:
            return await self._serve(queue)
        finally:
            self.roster.moved(name)

    async def _serve(self, queue: DestinationQueue) -> int | None:
        if not self.destinations.may_ask(queue.name):
            return self._wait(queue)
        parcel = queue.parcel or await self.packing.next(queue)
        if parcel is None:
            return 0 if queue.has_anything else None
        queue.parcel = parcel
        try:
            results = await self.transactions.send(queue.name, parcel.txn_id, parcel.body)
        except PeerFault as fault:
            return self._failed(queue, parcel, fault)
        await self._arrived(queue, parcel, results)
        return 0 if queue.has_anything else None

    async def _arrived(
        self, queue: DestinationQueue, parcel: Parcel, results: Mapping[str, Mapping[str, Any]]
    ) -> None:
        for source, place in parcel.sources:
            await source.delivered(queue.name, place)
        self._release(queue)
        queue.arrived(parcel)
        queue.mailbox.up()
        self.carried.transactions += 1
        self.carried.events += len(parcel.event_ids)
        self.carried.edus += parcel.edus
        for event_id, result in results.items():
            if result.get("error"):
                log.info(
                    "a server has refused an event of ours",
                    destination=queue.name,
                    event_id=event_id,
                    error=str(result["error"])[:300],
                )

    def _failed(self, queue: DestinationQueue, parcel: Parcel, fault: PeerFault) -> int:
        self.carried.failures += 1
        now = self.destinations.clock()
        queue.fall_behind()
        if self.destinations.may_ask(queue.name):
            # It is up, and refuses; or we have been told not to speak to it.
            queue.refusals += 1
            if self._is_hopeless(queue, fault):
                log.warning("a transaction is given up", destination=queue.name, reason=fault.reason)
                self._release(queue)
                queue.arrived(parcel)
                return now
            self._keep(queue)
            return now + int(1000 * _REFUSED.wait(queue.refusals, random.random()))  # noqa: S311 (spreads load)
        self._keep(queue)
        return self._wait(queue)

    def _wait(self, queue: DestinationQueue) -> int:
        """Until when, and what is kept meanwhile."""
        now, until = self.destinations.clock(), self.destinations.retry_at(queue.name)
        queue.fall_behind()
        queue.mailbox.down(now / 1000)
        if until - now > KEPT_FOR and queue.parcel is not None:
            self._release(queue)
            queue.forget_parcel()
        return until

    def _is_hopeless(self, queue: DestinationQueue, fault: PeerFault) -> bool:
        wrong = isinstance(fault, PeerRefused) and fault.status in _WRONG
        return wrong and queue.refusals >= PATIENCE_WITH_REFUSALS

    def _keep(self, queue: DestinationQueue) -> None:
        """Keep the parcel; where there is no room, the oldest ones are forgotten."""
        if queue.name in self._kept or queue.parcel is None:
            return
        self._kept[queue.name] = queue
        self._kept_bytes += len(queue.parcel.body)
        while self._kept_bytes > KEPT_BYTES:
            oldest = next(iter(self._kept.values()))
            self._release(oldest)
            oldest.forget_parcel()

    def _release(self, queue: DestinationQueue) -> None:
        """The parcel is no longer one that waits for its repetition."""
        if self._kept.pop(queue.name, None) is not None and queue.parcel is not None:
            self._kept_bytes -= len(queue.parcel.body)
