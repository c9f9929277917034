"""To-device messages that clients have: deleted once a client comes back after it was told of them.

Devices that this process has not served yet may have been told by another one. [cs "Send-to-Device messaging"]
"""

from collections import OrderedDict

from attrs import define, field

from storage import user_news
from storage.database import Database

MAX_DEVICES = 50_000


@define(eq=False)
class Inboxes:
    """Remembers up to where each device's inbox was told, so that most requests delete nothing."""

    database: Database
    _told: OrderedDict[int, int] = field(factory=OrderedDict)  # 0: all that was told is deleted

    def told(self, device_nid: int | None, position: int | None) -> None:
        """An answer has the messages up to `position`, if any."""
        if device_nid is not None and position is not None:
            self._told[device_nid] = position
            self._trim()

    def found_empty(self, device_nid: int | None) -> None:
        """There is nothing in the inbox: as after an acknowledgement of everything."""
        if device_nid is not None:
            self._told.setdefault(device_nid, 0)
            self._trim()

    async def acknowledge(self, device_nid: int | None, upto: int | None) -> None:
        """The client has its messages up to a position."""
        if device_nid is None or upto is None:
            return
        told = self._told.get(device_nid)
        if told is None or 0 < told <= upto:
            self._told[device_nid] = 0
            async with self.database.writer() as conn:
                await user_news.empty_inbox(conn, device_nid, upto)
            self._trim()

    def _trim(self) -> None:
        while len(self._told) > MAX_DEVICES:
            self._told.popitem(last=False)
