"""What another server may see of one of our rooms: what one of its users may see [cs "Room history visibility"].

A server that has members is in the room. One that had them sees the room as it was then. All others see nothing, also
of rooms that the world may read: that is for clients. The work is bounded: of a server with very many users those
are asked about who have been members for longest, and one who saw an event is enough.
"""

import asyncio
from collections.abc import Sequence

from attrs import frozen

from homeserver.core.errors import forbidden, not_found
from homeserver.services.histories import load_histories
from homeserver.services.room_access import HISTORY_VISIBILITY, may_see_stored
from homeserver.services.server_acls import ServerACLs
from storage import room_state
from storage.accounts import erased_among
from storage.database import Connection
from storage.events import EventReader, StoredEvent
from storage.room_batches import OUTLIER
from storage.rooms import Room
from storage.server_members import of_server
from storage.state_keys import StateKeys

NOT_IN_ROOM = "Your server is not in this room"
MAX_MEMBERS = 500
_FIRST = 10  # members to ask about at first: nearly always one of them was there
_MAX_SP = 2**31 - 1


@frozen
class ServerView:
    """A room as a server sees it. `members`: by number, those first who probably saw most."""

    room: Room
    server: str
    members: tuple[int, ...]
    present: bool


@frozen
class ServerAccess:
    """Lets servers in, and tells what is theirs to see."""

    reader: EventReader
    state_keys: StateKeys
    acls: ServerACLs

    async def view(self, conn: Connection, room_id: str, server: str) -> ServerView:
        """The server's view; M_FORBIDDEN unless it is or was in the room and the room lets it take part."""
        room = await self.reader.rooms.find(conn, room_id)
        if room is None:
            raise forbidden(NOT_IN_ROOM)
        await self.acls.require(conn, room, server)
        members = await of_server(conn, room.nid, server, MAX_MEMBERS)
        view = ServerView(
            room, server, tuple(one.user_nid for one in members), any(one.joined for one in members)
        )
        if not view.present and not await self._was_joined(conn, view):
            raise forbidden(NOT_IN_ROOM)
        return view

    async def event(self, conn: Connection, view: ServerView, event_id: str) -> StoredEvent:
        """An event of the room that has a place in it. M_NOT_FOUND if we have none of that id."""
        stored = await self.reader.by_id(conn, event_id)
        if stored is None or stored.room.nid != view.room.nid or stored.state_sp is None:
            raise not_found("No such event in this room")
        return stored

    async def require(self, conn: Connection, view: ServerView, stored: StoredEvent) -> None:
        """M_FORBIDDEN for what is around an event that was not for a server that has left since."""
        if not view.present and stored.nid not in await self.visible(conn, view, [stored]):
            raise forbidden("Your server was not in this room at that time")

    async def visible(self, conn: Connection, view: ServerView, events: Sequence[StoredEvent]) -> set[int]:
        """The numbers of those of the events that the server may see.

        State that we know without its place is what others rest on: it is told together with these anyway.
        """
        found = {stored.nid for stored in events if stored.status == OUTLIER and stored.event.is_state}
        for members in (view.members[:_FIRST], view.members[_FIRST:]):
            left = [one for one in events if one.state_sp is not None and one.nid not in found]
            if left and members:
                found |= await self._seen_by(conn, members, left)
        return found

    async def shown(self, conn: Connection, view: ServerView, events: Sequence[StoredEvent]) -> set[int]:
        """The numbers of those of the events that the server is told in full.

        What users said who had their account erased is told to no server any more [cs "POST /account/deactivate"].
        """
        said = {stored.event.sender for stored in events if not stored.event.is_state}
        erased = await erased_among(conn, said) if said else set()
        whole = [one for one in events if one.event.is_state or one.event.sender not in erased]
        return await self.visible(conn, view, whole)

    async def _seen_by(
        self, conn: Connection, members: Sequence[int], events: Sequence[StoredEvent]
    ) -> set[int]:
        keys = await self.state_keys.find(conn, [HISTORY_VISIBILITY])
        visibility_nid = keys.get(HISTORY_VISIBILITY, 0)
        histories = await load_histories(conn, self.reader, events, [visibility_nid, *members])
        found = set()
        for stored in events:
            if any(may_see_stored(stored, histories, visibility_nid, member) for member in members):
                found.add(stored.nid)
            elif len(members) > _FIRST:
                await asyncio.sleep(0)  # some milliseconds for one event
        return found

    async def _was_joined(self, conn: Connection, view: ServerView) -> bool:
        entries = await room_state.history(conn, view.room.nid, view.members, 0, _MAX_SP)
        found = await self.reader.by_nids(conn, {nid for _, _, nid in entries if nid is not None})
        return any(stored.event.membership == "join" for stored in found.values())
