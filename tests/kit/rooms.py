"""The services of rooms, on a real database, without HTTP."""

from typing import Any

from attrs import frozen

from homeserver.core.event_build import Draft
from homeserver.core.room_founding import PRESETS, NewRoom
from homeserver.core.room_versions import V12, RoomVersion
from homeserver.services.directory import Directory
from homeserver.services.member_content import MemberContents, Move
from homeserver.services.membership import Memberships
from homeserver.services.now import now_ms
from homeserver.services.restricted_joins import RestrictedJoins
from homeserver.services.room_creation import RoomCreation
from homeserver.services.room_sending import RoomSending
from storage import current_events
from storage.events import StoredEvent
from tests.kit.services import ALICE, Kit


@frozen
class Rooms:
    """What stories about rooms are told with."""

    kit: Kit
    memberships: Memberships
    creation: RoomCreation
    sending: RoomSending
    directory: Directory

    async def create(
        self,
        creator: str = ALICE,
        *,
        preset: str = "public_chat",
        version: RoomVersion = V12,
        published: bool = False,
        **options: Any,
    ) -> str:
        """A new room's id."""
        room = NewRoom(version=version, creator=creator, preset=PRESETS[preset], **options)
        return await self.creation.create(room, published=published)

    async def say(self, room_id: str, sender: str, body: str) -> str:
        """A message's id."""
        content = {"msgtype": "m.text", "body": body}
        return await self.sending.send(Draft("m.room.message", sender, content, now_ms(), room_id))

    async def put(self, room_id: str, sender: str, kind: str, content: dict[str, Any], key: str = "") -> str:
        """A state event's id."""
        return await self.sending.set_state(Draft(kind, sender, content, now_ms(), room_id, key))

    async def state(self, room_id: str) -> dict[tuple[str, str], StoredEvent]:
        """The whole current state."""
        room = (await self.kit.timeline.head(room_id)).room
        async with self.kit.database.read() as conn:
            whole = await current_events.whole(conn, self.kit.reader, room.nid)
        return {stored.event.key: stored for stored in whole}

    async def membership(self, room_id: str, user_id: str) -> str | None:
        """A user's membership now."""
        stored = (await self.state(room_id)).get(("m.room.member", user_id))
        return None if stored is None else stored.event.membership


def build_rooms(kit: Kit) -> Rooms:
    """The services of rooms on top of the writer."""
    restricted = RestrictedJoins(kit.database, kit.timeline.heads, kit.state_keys, kit.timeline.identity)
    memberships = Memberships(kit.timeline, MemberContents(kit.database), restricted)
    return Rooms(
        kit,
        memberships,
        RoomCreation(kit.timeline, memberships),
        RoomSending(kit.timeline, memberships),
        Directory(kit.timeline),
    )


def move(room_id: str, sender: str, target: str, membership: str) -> Move:
    """One user's change of another's membership."""
    return Move(room_id=room_id, sender=sender, target=target, membership=membership)
