"""PDUs that wait on disk get their verdicts, room by room, oldest first.

A room's next PDUs are a batch. The checks on receipt in the order of the specification:

    1. Is it a valid event?                              ┐
    2. Is it signed by those who must have signed it?    │ `check`: many at once
    3. Does its hash hold? If not: its redacted form.    ┘
    4. Do its auth events allow it?                      ┐
    5. Does the state before it allow it?                │ `Arrivals.receive_all`: one batch, one commit
    6. Does the room's current state allow it?           │
    7. Does the room's policy server recommend it?       ┘

What other events are missing for waits aside (`federation.gaps`), while the room goes on. A row is deleted after its
event is stored, so a crash only means that a known event comes again. A PDU that cannot be judged is tried again some
times and then given up; one that breaks our code is tried alone, so it keeps nothing else from its place.
"""

import asyncio
from collections.abc import Iterable, Sequence

import structlog
from attrs import define, field

from federation.gap_queue import GapQueue, Stuck
from federation.gaps import Verdicts
from federation.ledger import Ledger
from federation.protocol.pdu_json import parse_pdu_text
from federation.told_states import Check
from homeserver.core.receipt_checks import Dropped
from homeserver.services.arrivals import Arrivals
from homeserver.services.judging import Arrival, Waiting
from homeserver.services.now import now_ms
from storage.committer import HeadMoved, Overloaded
from storage.database import Unavailable
from storage.inbound_pdus import WaitingPdu
from storage.rooms import Room

log = structlog.get_logger(__name__)

WORKERS = 4  # rooms at a time
BATCH = 100
BATCHES = 10  # of one room, before others get their turn
TEMPORARY = (Unavailable, Overloaded, HeadMoved, TimeoutError)
PAUSE = 1.0  # seconds after such a fault
SWEEP = 30.0  # seconds at most until rows that another process left are noticed
RECORDS_KEPT = 24 * 3600 * 1000  # milliseconds

Checked = tuple[WaitingPdu, Arrival | Dropped]


@define(eq=False)
class Receiver:
    """Works on the rooms that have PDUs waiting."""

    check: Check
    arrivals: Arrivals
    ledger: Ledger
    gaps: GapQueue
    _queue: "asyncio.Queue[int]" = field(factory=asyncio.Queue, init=False)
    _rooms: dict[int, bool] = field(factory=dict, init=False)  # queued or at work; True: news came since

    def arrived(self, room_nids: Iterable[int]) -> None:
        """Something waits for these rooms."""
        for room_nid in set(room_nids):
            if room_nid not in self._rooms:
                self._queue.put_nowait(room_nid)
                self._rooms[room_nid] = False
            else:
                self._rooms[room_nid] = True

    async def run(self) -> None:
        """Work until cancelled; first on what an earlier process left."""
        await self._take_over()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.gaps.run())
            tasks.create_task(self._sweep())
            for _ in range(WORKERS):
                tasks.create_task(self._serve())

    async def _take_over(self) -> None:
        while True:
            try:
                return await self.ledger.take_over()
            except TEMPORARY as fault:
                log.warning("inbound PDUs not taken over yet", cause=repr(fault))
                await asyncio.sleep(PAUSE)

    async def _sweep(self) -> None:
        """Rows that are due again, and records that nobody needs any more."""
        while True:
            try:
                self.arrived(await self.ledger.rooms_due())
                await self.ledger.forget(now_ms() - RECORDS_KEPT)
                await self.ledger.wait_until_due(SWEEP)
            except TEMPORARY as fault:
                log.warning("inbound PDUs not looked up", cause=repr(fault))
                await asyncio.sleep(PAUSE)

    async def _serve(self) -> None:
        while True:
            room_nid = await self._queue.get()
            self._rooms[room_nid] = False
            try:
                more = await self._work(room_nid)
            except TEMPORARY as fault:
                log.warning("room of inbound PDUs put off", room_nid=room_nid, cause=repr(fault))
                await asyncio.sleep(PAUSE)
                more = True
            except Exception:
                log.exception("inbound PDUs of a room not judged", room_nid=room_nid)
                more = False  # the sweep comes back to it
            if self._rooms.pop(room_nid) or more:
                self.arrived([room_nid])

    async def _work(self, room_nid: int) -> bool:
        """Some batches of a room; True: there may be more."""
        room = await self.ledger.room(room_nid)
        for _ in range(BATCHES):
            rows = await self.ledger.next_of(room_nid, BATCH)
            if not rows or room is None:
                return False
            await self._judge(room, rows)
        return True

    async def _judge(self, room: Room, rows: Sequence[WaitingPdu]) -> None:
        """All together, or where that ends in a fault of ours one by one."""
        try:
            await self._receive(room, rows)
        except TEMPORARY:
            raise
        except Exception:
            log.exception("inbound PDUs not judged", room_id=room.room_id, count=len(rows))
            if len(rows) == 1:
                await self.ledger.fail(room, rows, "a fault of this server")
                return
            for row in rows:
                await self._judge(room, [row])

    async def _receive(self, room: Room, rows: Sequence[WaitingPdu]) -> None:
        """The checks on receipt, in order."""
        checked = await self._checks_1_to_3(room, rows)
        verdicts = await self._checks_4_to_6(room, checked)
        judged, stuck = [], []
        for row, result in checked:
            verdict = result if isinstance(result, Dropped) else verdicts[result.event.event_id]
            if not isinstance(verdict, Waiting):
                judged.append((row, verdict))
            elif isinstance(result, Arrival):
                stuck.append(Stuck(row, result, verdict))
        await self.ledger.finish(room, judged)
        if stuck:
            await self.gaps.take(room, stuck)
        await self.gaps.heard(row.event_id for row, verdict in judged if not isinstance(verdict, Dropped))

    async def _checks_1_to_3(self, room: Room, rows: Sequence[WaitingPdu]) -> list[Checked]:
        parsed = [
            parse_pdu_text(row.json, room.version) for row in rows
        ]  # check 1 has passed once, on arrival
        results = await self.check(parsed, room.version)
        return list(zip(rows, results, strict=True))

    async def _checks_4_to_6(self, room: Room, checked: Sequence[Checked]) -> Verdicts:
        arrivals = [result for _, result in checked if isinstance(result, Arrival)]
        return await self.arrivals.receive_all(room.room_id, arrivals) if arrivals else {}
