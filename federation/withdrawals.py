"""Invitations and knocks of ours that end by an event of a room that we are not in.

Servers send such an event to the server of the user it is about. The room's state is unknown here, so it cannot be
judged: it must be signed, come from its sender's server, and know what it ends.
"""

from attrs import frozen

from federation.protocol.transactions import Pdu
from federation.verify import PduChecks
from homeserver.core import canonical_json
from homeserver.core.ids import domain_of
from homeserver.core.receipt_checks import Dropped
from homeserver.services.remote_rooms import RemoteRooms

MAX_BYTES = 65_536


@frozen
class Withdrawals:
    """Looks at PDUs that came for rooms nobody of ours is in."""

    checks: PduChecks
    remote_rooms: RemoteRooms

    async def take(self, origin: str, pdu: Pdu) -> bool:
        """Was it the end of an invitation or a knock? Then it is over now."""
        if pdu.room_id is None or len(pdu.json) > MAX_BYTES or b"m.room.member" not in pdu.json:
            return False
        room = await self.remote_rooms.known(pdu.room_id)
        if room is None:
            return False
        try:
            parsed = canonical_json.decode_lenient(pdu.json)
        except canonical_json.NotCanonical:
            return False
        if not _concerns(parsed, origin) or not await self.remote_rooms.awaits(
            pdu.room_id, parsed["state_key"]
        ):
            return False  # spares the look-up of keys for what cannot count
        checked = (await self.checks.check([parsed], room.version))[0]
        return not isinstance(checked, Dropped) and await self.remote_rooms.withdrawn(checked)


def _concerns(pdu: object, origin: str) -> bool:
    """Is it a member event by a user of the server that sent it?"""
    if not isinstance(pdu, dict) or pdu.get("type") != "m.room.member":
        return False
    sender, state_key = pdu.get("sender"), pdu.get("state_key")
    return isinstance(sender, str) and isinstance(state_key, str) and domain_of(sender) == origin
