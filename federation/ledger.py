"""The PDUs that wait on disk, as the work on them sees it: what is next, what is done, what is put off or given up.

Each PDU that does not become part of its room leaves one line in the log, with the check that it failed.
"""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress

import structlog
from attrs import define, field

from federation.inbound.backlog import Backlog
from federation.inbound.metrics import InboundMetrics, name_of
from homeserver.core.receipt_checks import Accepted, Verdict
from homeserver.services.now import Clock, now_ms
from storage import inbound_pdus
from storage.database import Database
from storage.inbound_pdus import WaitingPdu
from storage.rooms import Room, RoomRegistry

log = structlog.get_logger(__name__)

RETRIES = (10_000, 60_000, 600_000, 3_600_000)  # milliseconds after each attempt; behind the last: given up
LEAST_PAUSE = 0.5  # seconds between two looks at what is due


@define(eq=False)
class Ledger:
    """Keeps the rows, and the counts of them."""

    database: Database
    registry: RoomRegistry
    backlog: Backlog
    metrics: InboundMetrics
    clock: Clock = now_ms
    _put_off: asyncio.Event = field(factory=asyncio.Event, init=False)

    async def take_over(self) -> None:
        """After a start: everything that waits is due, and counts."""
        async with self.database.writer() as conn:
            await inbound_pdus.make_all_due(conn)
            for origin, count in (await inbound_pdus.waiting_by_origin(conn)).items():
                self.backlog.add(origin, count)

    async def room(self, room_nid: int) -> Room | None:
        """The room of that number."""
        async with self.database.read() as conn:
            return (await self.registry.by_nids(conn, [room_nid])).get(room_nid)

    async def rooms_due(self) -> list[int]:
        """Rooms with PDUs that are to be taken up. What becomes due from now on ends the next waiting."""
        self._put_off.clear()
        async with self.database.read() as conn:
            return await inbound_pdus.rooms_due(conn, self.clock())

    async def next_of(self, room_nid: int, limit: int) -> list[WaitingPdu]:
        """The room's oldest PDUs that are due."""
        async with self.database.read() as conn:
            return await inbound_pdus.next_of_room(conn, room_nid, now=self.clock(), limit=limit)

    async def finish(self, room: Room, judged: Sequence[tuple[WaitingPdu, Verdict]]) -> None:
        """These have their verdicts; why not, where it is no acceptance, goes to the log."""
        gone = await self._delete([row for row, _ in judged])
        for row, verdict in judged:
            if row.pdu_nid not in gone:
                continue  # somebody else was faster
            self.metrics.judged(verdict)
            if not isinstance(verdict, Accepted):
                told = {"verdict": name_of(verdict), "check": verdict.check, "reason": verdict.reason}
                _tell("PDU not accepted", room, row, **told)

    async def lend(self, rows: Collection[WaitingPdu], milliseconds: int) -> None:
        """Nobody else takes these up for a while."""
        if rows:
            async with self.database.writer() as conn:
                until = self.clock() + milliseconds
                await inbound_pdus.put_off(conn, [row.pdu_nid for row in rows], until, failed=False)
            self._put_off.set()

    async def fail(self, room: Room, rows: Collection[WaitingPdu], reason: str) -> None:
        """They could not be judged: once more later, or never again."""
        if not rows:
            return
        given_up = [row for row in rows if row.attempts >= len(RETRIES)]
        for row in given_up:
            self.metrics.pdus.labels("unresolved").inc()
            _tell("PDU given up", room, row, reason=reason)
        await self._delete(given_up)
        for attempts, delay in enumerate(RETRIES):
            again = [row.pdu_nid for row in rows if row.attempts == attempts]
            if again:
                async with self.database.writer() as conn:
                    await inbound_pdus.put_off(conn, again, self.clock() + delay, failed=True)
        self._put_off.set()

    async def leave(self, rows: Collection[WaitingPdu]) -> None:
        """They were looked at early, in vain; that was no attempt."""
        for attempts, delay in enumerate(RETRIES, start=1):
            await self.lend([row for row in rows if row.attempts == attempts], delay)

    async def make_due(self, pdu_nids: Collection[int]) -> None:
        """What was put off may be taken up now."""
        if pdu_nids:
            async with self.database.writer() as conn:
                await inbound_pdus.make_due(conn, pdu_nids)
            self._put_off.set()

    async def forget(self, before_ts: int) -> None:
        """Records of transactions that nobody repeats any more."""
        async with self.database.writer() as conn:
            await inbound_pdus.forget_transactions(conn, before_ts)

    async def wait_until_due(self, at_most: float) -> None:
        """Until something is due that was put off, or has been since we looked, or so many seconds."""
        async with self.database.read() as conn:
            due = await inbound_pdus.next_retry(conn)
        pause = at_most if due is None else min(at_most, (due - self.clock()) / 1000)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(pause, LEAST_PAUSE)):
                await self._put_off.wait()

    async def _delete(self, rows: Collection[WaitingPdu]) -> set[int]:
        if not rows:
            return set()
        async with self.database.writer() as conn:
            gone = await inbound_pdus.delete(conn, [row.pdu_nid for row in rows])
        for row in rows:
            if row.pdu_nid in gone:
                self.backlog.remove(row.origin)
        return gone


def _tell(what: str, room: Room, row: WaitingPdu, **more: object) -> None:
    log.info(what, event_id=row.event_id, room_id=room.room_id, origin=row.origin, **more)
