"""What was kept for a time is dropped: against repetitions, until nobody repeats it any more; and notifications."""

import asyncio

import structlog
from attrs import frozen

from homeserver.services.notification_ends import NotificationEnds
from homeserver.services.now import Clock, now_ms
from storage import delayed_events, to_device
from storage.database import Database, Unavailable

log = structlog.get_logger(__name__)

HOUR = 60 * 60
DAY_MS = 24 * HOUR * 1000
TRANSACTIONS_KEPT = DAY_MS
DELAYED_KEPT = 7 * DAY_MS  # [MSC4140 "Retention of finalised delayed events"]
DELAYED_KEPT_OF_USER = 1000
MESSAGES_KEPT = 7 * DAY_MS  # a peer that was down for longer repeats nothing that has arrived


@frozen
class Leftovers:
    """Runs beside the server."""

    database: Database
    clock: Clock = now_ms

    async def run(self) -> None:
        """Every hour, until cancelled."""
        while True:
            await asyncio.sleep(HOUR)
            try:
                await self.drop()
            except (Unavailable, TimeoutError) as fault:
                log.info("leftovers stay for another hour", cause=repr(fault))

    async def drop(self) -> None:
        """Drop what is old enough."""
        now = self.clock()
        async with self.database.transaction() as conn:
            await to_device.forget_before(conn, now - TRANSACTIONS_KEPT, now - MESSAGES_KEPT)
            await delayed_events.forget(conn, now - DELAYED_KEPT, keep=DELAYED_KEPT_OF_USER)
        await NotificationEnds(self.database, self.clock).drop()
