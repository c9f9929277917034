"""Member events of rooms that we are not in: an invitation taken back, a knock refused [ss "Leaving Rooms"].

Servers send these to the user's server like any other PDU, though it is not in the room.
"""

from attrs import frozen

from federation.gaps import Check
from federation.protocol.pdu_json import parse_pdu_text
from federation.protocol.transactions import Pdu
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
        if pdu.room_id is None:
            return False
        writing = self.remote_rooms.writing
        async with writing.database.read() as conn:
            room = await writing.reader.rooms.find(conn, pdu.room_id)
        if room is None:
            return False
        try:
            parsed = parse_pdu_text(pdu.json, room.version)
        except NotCanonical:
            return False
        checked = await self.check([parsed], room.version)
        return any(
            [
                await self.remote_rooms.withdrawn(one)
                for one in checked
                if isinstance(one, Arrival) and one.event.room_id == room.room_id
            ]
        )
