"""Member events of rooms that we are not in: an invitation taken back, a knock refused [ss "Leaving Rooms"].

Servers send these to the user's server like any other PDU, though it is not in the room. The room's state is unknown
here, so such an event cannot be judged: it must be signed, and know what it ends.
"""

from typing import Any

from attrs import frozen

from federation.protocol.pdu_json import parse_pdu_text
from federation.protocol.transactions import Pdu
from federation.told_states import Check
from homeserver.core.canonical_json import NotCanonical
from homeserver.services.judging import Arrival
from homeserver.services.remote_rooms import RemoteRooms


@frozen
class Withdrawals:
    """Looks at PDUs for rooms of which our users know by an invitation or a knock only."""

    check: Check
    remote_rooms: RemoteRooms

    async def __call__(self, pdu: Pdu) -> bool:
        """Was it the end of something? Only then is it taken."""
        room = None if pdu.room_id is None else await self.remote_rooms.known(pdu.room_id)
        if room is None:
            return False
        try:
            parsed = parse_pdu_text(pdu.json, room.version)
        except NotCanonical:
            return False
        if not await self._ends_something(room.room_id, parsed):
            return False  # spares the look-up of keys for what cannot count
        checked = (await self.check([parsed], room.version))[0]
        if not isinstance(checked, Arrival) or checked.event.room_id != room.room_id:
            return False
        return await self.remote_rooms.withdrawn(checked)

    async def _ends_something(self, room_id: str, pdu: Any) -> bool:
        if not isinstance(pdu, dict) or pdu.get("type") != "m.room.member":
            return False
        user_id = pdu.get("state_key")
        return isinstance(user_id, str) and await self.remote_rooms.awaits(room_id, user_id)
