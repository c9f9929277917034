"""Guests leave rooms that do not welcome them any more, whoever changed that [cs "Guest Access"].

It follows the clock: the event may have come from another server, or have been sent just before a crash.
"""

from collections.abc import Sequence

from attrs import frozen

from homeserver.services.membership import GUEST_ACCESS, Memberships, welcomes_guests
from storage import current_events, memberships
from storage.database import Connection
from storage.events import EventReader
from storage.following import NewEvent

TYPES = (GUEST_ACCESS[0],)


@frozen
class GuestRemoval:
    """Looks at rooms in which guest access was changed."""

    reader: EventReader
    memberships: Memberships

    async def take(self, conn: Connection, events: Sequence[NewEvent]) -> None:
        """Guests leave those of the rooms that are closed to them now."""
        rooms = await memberships.rooms_with_guests(conn, {event.room_nid for event in events})
        if not rooms:
            return
        found = await current_events.of_rooms(conn, self.reader, rooms, TYPES)
        accesses = {nid: found.get(nid, {}).get(GUEST_ACCESS[0]) for nid in rooms}
        closed = [
            nid
            for nid, stored in accesses.items()
            if not welcomes_guests(None if stored is None else stored.event)
        ]
        for room in (await self.reader.rooms.by_nids(conn, closed)).values():
            await self.memberships.leave_guests(room)
