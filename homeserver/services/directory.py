"""The names of rooms: aliases of this server, and the list of its public rooms [cs "Room aliases"]."""

from attrs import frozen

from homeserver.core.application_services import NO_SERVICES, ApplicationServices
from homeserver.core.auth.state import CREATE, POWER_LEVELS
from homeserver.core.errors import MatrixError, forbidden, invalid_param, not_found
from homeserver.core.event_build import Draft
from homeserver.core.ids import is_room_alias
from homeserver.core.membership import JOIN
from homeserver.core.power_levels import power_levels
from homeserver.core.state_content import named_aliases, without_alias
from homeserver.services.now import now_ms
from homeserver.services.room_heads import Head
from homeserver.services.timeline import Timeline
from storage import directory
from storage.current_events import of_keys
from storage.rooms import Room
from storage.state_keys import user_key

CANONICAL = ("m.room.canonical_alias", "")


@frozen
class Directory:
    """Aliases and publication."""

    timeline: Timeline
    services: ApplicationServices = NO_SERVICES

    async def resolve(self, alias: str) -> directory.Alias:
        """What an alias of ours leads to. Raises M_NOT_FOUND."""
        if not is_room_alias(alias):
            raise invalid_param("Not a room alias")
        async with self.timeline.writing.database.read() as conn:
            found = await directory.find_aliases(conn, [alias])
        if alias not in found:
            raise not_found("No room has this alias")
        return found[alias]

    async def add_alias(self, alias: str, room_id: str, user_id: str, *, service: str | None = None) -> None:
        """A new name for a room. An application service gives its names to any [as "Server admin style
        permissions"]."""
        self._require_ours(alias)
        self.services.check_alias(alias, service)
        room = (await self.timeline.head(room_id)).room
        creator_nid = await self.timeline.writing.state_keys.user_nid(user_id)
        async with self.timeline.writing.database.transaction() as conn:
            state = await of_keys(conn, self.timeline.writing.reader, room.nid, [user_key(user_id)])
            member = state.get(user_key(user_id))
            if service is None and (member is None or member.event.membership != JOIN):
                raise forbidden("You are not in this room")
            made = await directory.insert_alias(
                conn, alias, room.nid, creator_nid=creator_nid, created_ts=now_ms()
            )
        if not made:
            raise MatrixError(409, "M_UNKNOWN", f"Room alias {alias} already exists")

    async def remove_alias(
        self, alias: str, user_id: str, *, is_admin: bool = False, service: str | None = None
    ) -> None:
        """Take a name away: its creator may, and whoever may change the room's canonical alias."""
        if not is_admin:
            self.services.check_alias(alias, service)
        found = await self.resolve(alias)
        user_nid = await self.timeline.writing.state_keys.user_nid(user_id)
        room = (await self.timeline.head(found.room_id)).room
        trusted = is_admin or service is not None  # the alias is of the service's namespace
        if found.creator_nid != user_nid and not trusted and not await self._may_name(room, user_id):
            raise forbidden("You may not remove this alias")
        async with self.timeline.writing.database.transaction() as conn:
            await directory.delete_alias(conn, alias)
        await self._forget_canonical(room, alias, user_id)

    async def is_published(self, room_id: str) -> bool:
        """Does the room stand in the public list?"""
        room = (await self.timeline.head(room_id)).room
        async with self.timeline.writing.database.read() as conn:
            return await directory.is_published(conn, room.nid)

    async def publish(self, room_id: str, user_id: str, *, published: bool, is_admin: bool = False) -> None:
        """Put a room into the public list or take it out, with the right to change its canonical alias."""
        room = (await self.timeline.head(room_id)).room
        if not is_admin and not await self._may_name(room, user_id):
            raise forbidden("You may not change whether this room is listed")
        async with self.timeline.writing.database.transaction() as conn:
            await directory.set_published(conn, room.nid, published=published)

    async def publish_by(self, service_id: str, network_id: str, room_id: str, *, published: bool) -> None:
        """An application service keeps lists of its own [as "Published room directories"]."""
        room = (await self.timeline.head(room_id)).room
        async with self.timeline.writing.database.transaction() as conn:
            await directory.set_published_by(conn, service_id, network_id, room.nid, published=published)

    def _require_ours(self, alias: str) -> None:
        if not is_room_alias(alias):
            raise invalid_param("Not a room alias")
        if not self.timeline.identity.is_ours(alias):
            raise invalid_param("Aliases can only be made on this server")

    async def _may_name(self, room: Room, user_id: str) -> bool:
        """Is the user in the room, with the level that the canonical alias needs?"""
        keys = [POWER_LEVELS, CREATE, user_key(user_id)]
        async with self.timeline.writing.database.read() as conn:
            found = await of_keys(conn, self.timeline.writing.reader, room.nid, keys)
        state = {key: stored.event for key, stored in found.items()}
        member = state.get(user_key(user_id))
        if member is None or member.membership != JOIN:
            return False
        levels = power_levels(state.get(POWER_LEVELS), state.get(CREATE), room.version)
        return levels.may_send(user_id, CANONICAL[0], is_state=True)

    async def _forget_canonical(self, room: Room, alias: str, user_id: str) -> None:
        """The canonical alias event must not name what leads nowhere; only who may change it can."""

        def decide(head: Head) -> list[Draft]:
            event = head.event(CANONICAL)
            if event is None or alias not in named_aliases(event.content):
                return []
            content = without_alias(event.content, alias)
            return [Draft(CANONICAL[0], user_id, content, now_ms(), room.room_id, "")]

        if await self._may_name(room, user_id):
            await self.timeline.change(room.room_id, [CANONICAL], decide)
