"""Into which rooms a server may send: those that somebody of ours is in and whose access control list lets it.

Asked once for all rooms of a transaction [ss "Server Access Control Lists (ACLs)"].
"""

from collections.abc import Collection

from attrs import field, frozen

from federation.entering import Entering
from homeserver.services.server_acls import ServerACLs
from storage.database import Database
from storage.residences import residences
from storage.rooms import Room


@frozen
class Refusal:
    """The room is closed to the server; `reason` is what it is told. `unknown`: nobody of ours is in it."""

    reason: str
    unknown: bool = False


NOT_HERE = Refusal("This server is not in the room", unknown=True)
EXCLUDED = Refusal("The room's access control list excludes your server")


@frozen
class Admission:
    """Looks at rooms before anything that came for them is taken up."""

    database: Database
    acls: ServerACLs
    entering: Entering = field(factory=Entering)

    async def rooms(self, origin: str, room_ids: Collection[str]) -> dict[str, Room | Refusal]:
        """Each of the rooms, or why the server may send nothing into it."""
        if not room_ids:
            return {}
        await self.entering.settled(room_ids)
        reader = self.acls.reader
        async with self.database.read() as conn:
            found = await residences(conn, room_ids)
            rooms = await reader.rooms.by_nids(conn, {one.room_nid for one in found.values()})
            lists = {one.acl_nid for one in found.values() if one.acl_nid is not None}
            events = await reader.by_nids(conn, lists) if lists else {}
        answers: dict[str, Room | Refusal] = dict.fromkeys(room_ids, NOT_HERE)
        for room_id, one in found.items():
            if not one.resident or one.room_nid not in rooms:
                continue
            acl = None if one.acl_nid is None else events.get(one.acl_nid)
            answers[room_id] = rooms[one.room_nid] if self.acls.judge(acl, origin) else EXCLUDED
        return answers
