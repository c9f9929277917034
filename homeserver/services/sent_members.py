"""Which members each device has been sent, so that the same ones are not sent again [cs "Lazy-loading room members"].

A memory of this process only, bounded: what is forgotten is sent once more, which is allowed.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from attrs import define, field

MAX_ROOMS = 50_000  # pairs of device and room
MAX_MEMBERS = 500  # of one pair


@define(eq=False)
class SentMembers:
    """Member events by device and room: user_nid -> event_nid."""

    _sent: OrderedDict[tuple[int, int], dict[int, int]] = field(factory=OrderedDict)

    def known(self, device_nid: int | None, room_nid: int) -> Mapping[int, int]:
        """What the device has of the room's members."""
        return self._sent.get((device_nid or 0, room_nid), {})

    def add(self, device_nid: int | None, room_nid: int, members: Mapping[int, int]) -> None:
        """These have been sent."""
        if device_nid is None or not members:
            return
        key = (device_nid, room_nid)
        known = self._sent.setdefault(key, {})
        self._sent.move_to_end(key)
        if len(known) + len(members) > MAX_MEMBERS:
            known.clear()
        known |= members
        while len(self._sent) > MAX_ROOMS:
            self._sent.popitem(last=False)

    def remove(self, device_nid: int | None, room_nid: int, users: Iterable[int | None]) -> None:
        """What the device has of these is out of date."""
        known = self._sent.get((device_nid or 0, room_nid))
        if known:
            for user in users:
                if user is not None:
                    known.pop(user, None)

    def forget(self, device_nid: int | None, room_nids: Iterable[int]) -> None:
        """The device starts anew in these rooms."""
        for room_nid in room_nids:
            self._sent.pop((device_nid or 0, room_nid), None)
