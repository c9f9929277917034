"""Whose devices changed lately, in memory: a change in a large room is news for all of its members at once.

It is the end of a table, read again when something may have been added, by one for all. Each entry has the rooms that
its user was in when it was read, so that who shares one is found without a query. That holds while nobody comes into
these rooms or leaves them: whoever has heard of events asks the database. [cs "Tracking the device list for a user"]
"""

import asyncio
from collections import OrderedDict

from attrs import define, field

from homeserver.services.notifier import ActiveUser
from storage import user_news
from storage.database import Database
from storage.user_news import DeviceListChange

MAX_READ = 1_000  # changes at once
MAX_CHANGES = 10_000  # in memory: some milliseconds for who wants all of them
MAX_ROOMS = 100_000  # of all of them together


@define(eq=False)
class RecentDevices:
    """Remembers changes after `floor`, all of them up to `upto`."""

    database: Database
    floor: int = 0
    upto: int = 0
    _changes: OrderedDict[tuple[int, int], DeviceListChange] = field(
        factory=OrderedDict
    )  # the latest stand last
    _rooms: int = 0
    _reading: asyncio.Lock = field(factory=asyncio.Lock)

    async def told(self, user: ActiveUser, since: int) -> list[str] | None:
        """Who changed after `since`, of those that concern an active user; None: that is not remembered.

        For who heard of nothing in rooms since then but of devices.
        """
        if self.upto < user.touched:
            await self._read_on(user.touched, since)
        if since < self.floor:
            return None
        found = set()
        for change in reversed(self._changes.values()):
            if change.position <= since:
                break
            if _concerns(change, user):
                found.add(change.user_id)
        return sorted(found)

    async def _read_on(self, touched: int, since: int) -> None:
        async with self._reading:
            if self.upto >= touched:
                return  # somebody else has
            if not self.upto:
                self.floor = self.upto = since
            async with self.database.read() as conn:
                upto, latest = await user_news.latest_device_lists(conn, self.upto, MAX_READ)
            if len(latest) == MAX_READ:  # there may be more between
                self._changes.clear()
                self._rooms, self.floor = 0, latest[-1].position
            for change in reversed(latest):
                self._keep(change)
            self.upto = upto
            self._trim()

    def _keep(self, change: DeviceListChange) -> None:
        key = (change.user_nid, change.seen_by)
        former = self._changes.pop(key, None)
        self._rooms += len(change.rooms) - (0 if former is None else len(former.rooms))
        self._changes[key] = change

    def _trim(self) -> None:
        while len(self._changes) > MAX_CHANGES or self._rooms > MAX_ROOMS:
            _, oldest = self._changes.popitem(last=False)
            self._rooms -= len(oldest.rooms)
            self.floor = max(self.floor, oldest.position)


def _concerns(change: DeviceListChange, user: ActiveUser) -> bool:
    """Is the user to look at these devices again?"""
    if change.seen_by:
        return change.seen_by == user.user_nid
    return change.user_nid == user.user_nid or not user.rooms.keys().isdisjoint(change.rooms)
