"""Rooms in which we can answer for our users: known, joined by one of them, and open to the server that asks."""

from attrs import frozen

from federation.admission import Admission, Refusal
from homeserver.core.errors import forbidden, not_found
from storage.rooms import Room


@frozen
class ResidentRooms:
    """Finds rooms for servers that want to enter, leave or invite."""

    admission: Admission

    async def room(self, room_id: str, origin: str) -> Room:
        """The room. Raises M_NOT_FOUND where we are not in it, M_FORBIDDEN where `origin` is kept out of it."""
        room = await self.followed(room_id, origin)
        if room is None:
            raise not_found("This server is not in the room")
        return room

    async def followed(self, room_id: str, origin: str) -> Room | None:
        """The room, if we are in it; else None. Raises M_FORBIDDEN where `origin` is kept out of it."""
        found = (await self.admission.rooms(origin, [room_id]))[room_id]
        if not isinstance(found, Refusal):
            return found
        if not found.unknown:
            raise forbidden(found.reason)  # [ss "Server Access Control Lists (ACLs)"]
        return None
