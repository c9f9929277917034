"""When and whence each device was last heard of: noted in memory, written together, every few minutes a device."""

import asyncio
from collections import OrderedDict

import structlog
from attrs import define, field

from homeserver.services.now import Clock, now_ms
from storage.database import Database, Unavailable
from storage.devices import Sighting, record_sightings

WRITE_EVERY = 20.0  # seconds
SIGHTING_LASTS_MS = 180_000
MAX_NOTED = 50_000


@define(eq=False)
class LastSeen:
    """Sightings that are not yet written, and the times of those that are."""

    database: Database
    clock: Clock = now_ms
    _pending: dict[int, Sighting] = field(factory=dict, init=False)
    _noted: OrderedDict[int, int] = field(factory=OrderedDict, init=False)

    def is_due(self, device_nid: int) -> bool:
        """Has the device not been noted for a while? Asked at each request."""
        return self.clock() - self._noted.get(device_nid, 0) >= SIGHTING_LASTS_MS

    def note(self, device_nid: int, ip: str, agent: str) -> None:
        """The device has asked for something."""
        now = self._noted[device_nid] = self.clock()
        self._noted.move_to_end(device_nid)
        if len(self._noted) > MAX_NOTED:
            forgotten, _ = self._noted.popitem(last=False)
            self._pending.pop(forgotten, None)
        self._pending[device_nid] = Sighting(device_nid, now, ip, agent)

    async def run(self) -> None:
        """Write what is noted, again and again, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_EVERY)
            try:
                await self.flush()
            except Unavailable as cause:
                structlog.get_logger(__name__).warning("sightings of devices wait", cause=repr(cause))

    async def flush(self) -> None:
        """Write what is noted now."""
        if not self._pending:
            return
        pending, self._pending = self._pending, {}
        try:
            async with self.database.writer() as conn:
                await record_sightings(conn, list(pending.values()))
        except Unavailable:
            self._pending = pending | self._pending
            raise
