"""What somebody who is not in a room is shown of it by other servers: whole events, so that they can be checked."""

from attrs import frozen

from homeserver.services.growth import STRIPPED_STATE
from homeserver.services.room_export import RoomExport
from storage import current_events
from storage.rooms import Room
from storage.state_keys import user_key


@frozen
class Introductions:
    """Reads the state that goes with invites and knocks to other servers [ss "Inviting to a room"]."""

    export: RoomExport

    async def pdus(self, room: Room, inviter: str | None = None) -> list[bytes]:
        """The create event and what names the room, as signed; with an inviter, also who that is."""
        keys = [*STRIPPED_STATE, *([user_key(inviter)] if inviter is not None else ())]
        async with self.export.database.read() as conn:
            found = await current_events.of_keys(conn, self.export.reader, room.nid, keys)
            nids = [stored.nid for key in keys if (stored := found.get(key)) is not None]
            return await self.export.pdus(conn, nids)
