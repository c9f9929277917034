"""What users wanted to be sent later is sent when its time has come, once, also after a crash [MSC4140].

One task sleeps until the next one is due. An event is claimed, sent, and then finalised. Where a crash comes between,
it is sent again after the next start, under the same transaction id: the room has it once. Faults of our own (the
database cannot be reached, …) leave it claimed, and it is tried again when the claim has ended.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import orjson
import structlog
from attrs import define, field, frozen

from homeserver.core.errors import MatrixError, forbidden, user_suspended
from homeserver.core.event_build import Draft
from homeserver.services.delayed.schedule import CLAIM_LASTS, DelayedEvents, conflict
from homeserver.services.growth import Once
from homeserver.services.now import Clock, now_ms
from homeserver.services.room_sending import RoomSending
from storage import delayed_events
from storage.accounts import Account, account_by_nid
from storage.committer import HeadMoved, Overloaded
from storage.database import Database, Unavailable
from storage.delayed_events import Delayed, txn_device

log = structlog.get_logger(__name__)

AT_ONCE = 50  # rooms are served side by side, each in the order of time
POLL = 30.0  # seconds: other processes schedule, too
AFTER_A_FAULT = 2.0
OURS = (Unavailable, TimeoutError, HeadMoved, Overloaded)  # faults that say nothing about the event


@frozen
class Sending:
    """What sends. `count` is told whose event it is, and refuses who sends too many."""

    database: Database
    rooms: RoomSending
    count: Callable[[str], None]

    async def send(self, delayed: Delayed) -> str:
        """Send it as its user, with the rights that the user has now; gives the event's id."""
        async with self.database.read() as conn:
            account = await account_by_nid(conn, delayed.user_nid)
        if account is None or account.deactivated or account.locked:
            raise forbidden("The account cannot be used any more")
        self.count(account.user_id)
        draft = Draft(
            delayed.type,
            account.user_id,
            orjson.loads(delayed.content),
            now_ms() if delayed.origin_ts is None else delayed.origin_ts,
            delayed.room_id,
            delayed.state_key,
        )
        await self.check_suspended(account, draft)
        once = Once(txn_device(delayed.user_nid), "d" + delayed.delay_id)
        if draft.state_key is None:
            return await self.rooms.send(draft, once=once)
        return await self.rooms.set_state(draft, is_guest=account.guest, once=once)

    async def check_suspended(self, account: Account, draft: Draft) -> None:
        """Being sent later opens no way around it [cs "Account suspension"]."""
        if account.suspended and draft.state_key is not None:
            raise user_suspended()
        if account.suspended:
            await self.rooms.check_suspended(draft)


@define(eq=False)
class Alarm:
    """Wakes the task that waits for the next event."""

    _rung: asyncio.Event = field(factory=asyncio.Event)

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, seconds: float) -> None:
        """Until it rings, or so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        self._rung.clear()


@define(eq=False)
class Delivery:
    """Sends what is due, and what its user wants to be sent now."""

    sending: Sending
    schedule: DelayedEvents
    alarm: Alarm
    clock: Clock = now_ms
    _began: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._began = self.clock()

    async def run(self) -> NoReturn:
        """Until cancelled."""
        while True:
            try:
                wait = await self.round()
            except OURS as cause:
                log.warning("delayed events wait", cause=repr(cause))
                wait = AFTER_A_FAULT
            except Exception:  # one defect must not end it
                log.exception("delayed events wait")
                wait = AFTER_A_FAULT
            await self.alarm.wait(wait)

    async def round(self) -> float:
        """Send what is due; gives the seconds until there may be more."""
        now = self.clock()
        async with self.sending.database.transaction() as conn:
            due = await delayed_events.claim_due(conn, now=now, stale=self._stale(now), limit=AT_ONCE)
        rooms: dict[str, list[Delayed]] = {}
        for delayed in due:
            rooms.setdefault(delayed.room_id, []).append(delayed)
        await asyncio.gather(*(self._send_in_order(room) for room in rooms.values()))
        if len(due) == AT_ONCE:
            return 0.0
        async with self.sending.database.read() as conn:
            at = await delayed_events.next_due(conn, CLAIM_LASTS)
        return POLL if at is None else min(POLL, max(0.0, (at - self.clock()) / 1000 + 0.001))

    async def send_now(self, delay_id: str, user_nid: int | None) -> None:
        """Before its time; where it cannot be, it stays scheduled [MSC4140]."""
        await self.schedule.found(delay_id, user_nid)
        now = self.clock()
        async with self.sending.database.transaction() as conn:
            delayed = await delayed_events.claim(conn, delay_id, now=now, stale=self._stale(now))
        if delayed is None:
            found = await self.schedule.found(delay_id, user_nid)
            if found.finalised_ts is not None and found.event_id is None:
                raise conflict("The event has been cancelled")
            return  # it has been sent, or is just being sent
        try:
            event_id = await self.sending.send(delayed)
        except Exception:
            async with self.sending.database.transaction() as conn:
                await delayed_events.release(conn, delay_id)
            raise
        await self._finalise(delay_id, event_id=event_id)

    async def _send_in_order(self, due: list[Delayed]) -> None:
        for delayed in due:
            try:
                event_id = await self.sending.send(delayed)
            except OURS as cause:
                log.warning("a delayed event is tried again", room_id=delayed.room_id, cause=repr(cause))
            except MatrixError as fault:
                await self._give_up(delayed, fault)
            except Exception:  # a defect: this one would be one for ever
                log.exception("a delayed event cannot be sent", room_id=delayed.room_id)
                await self._give_up(delayed, MatrixError(500, "M_UNKNOWN", "The event could not be sent"))
            else:
                await self._finalise(delayed.delay_id, event_id=event_id)

    async def _give_up(self, delayed: Delayed, fault: MatrixError) -> None:
        """Its user may look up why [MSC4140 "Getting a single delayed event"]."""
        log.info("a delayed event was refused", room_id=delayed.room_id, cause=str(fault))
        told = {**fault.extra, "errcode": fault.errcode, "error": fault.message}
        await self._finalise(delayed.delay_id, error=orjson.dumps(told).decode())

    async def _finalise(
        self, delay_id: str, *, event_id: str | None = None, error: str | None = None
    ) -> None:
        async with self.sending.database.transaction() as conn:
            await delayed_events.finalise(conn, delay_id, now=self.clock(), event_id=event_id, error=error)

    def _stale(self, now: int) -> int:
        """Claims of before count no more: of those who are gone, ourselves before the start among them."""
        return max(self._began, now - CLAIM_LASTS)
