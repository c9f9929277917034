"""Which servers a room lets take part: its access control list as it is now [ss "Server Access Control Lists"]."""

from collections import OrderedDict

from attrs import define, field

from homeserver.core.errors import forbidden
from homeserver.core.event import StateKey
from homeserver.core.server_acl import ServerACL, server_acl
from storage import current_events
from storage.database import Connection
from storage.events import EventReader, StoredEvent
from storage.rooms import Room

SERVER_ACL: StateKey = ("m.room.server_acl", "")
MAX_LISTS = 500


@define(eq=False)
class ServerACLs:
    """Asks the rooms' lists; parsed ones are remembered by the number of their event, which never changes."""

    reader: EventReader
    _parsed: OrderedDict[tuple[int, bool], ServerACL] = field(factory=OrderedDict)

    async def allows(self, conn: Connection, room: Room, server: str) -> bool:
        """May the server take part in the room?"""
        found = await current_events.of_keys(conn, self.reader, room.nid, [SERVER_ACL])
        return self.judge(found.get(SERVER_ACL), server)

    def judge(self, stored: StoredEvent | None, server: str) -> bool:
        """The same, where the list's event has been read; no event, no list."""
        if stored is None:
            return True
        key = (stored.nid, stored.redacted_by is not None)
        if key not in self._parsed:
            self._parsed[key] = server_acl(stored.event.content)
        self._parsed.move_to_end(key)
        while len(self._parsed) > MAX_LISTS:
            self._parsed.popitem(last=False)
        return self._parsed[key].allows(server)

    async def require(self, conn: Connection, room: Room, server: str) -> None:
        """M_FORBIDDEN unless the room lets the server take part."""
        if not await self.allows(conn, room, server):
            raise forbidden("This room's access control list excludes your server")
