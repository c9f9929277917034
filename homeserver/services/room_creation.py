"""New rooms: all first events, the alias and the publication are one commit, or nothing is left [cs "Creation"]."""

import secrets
from collections.abc import Sequence
from typing import Any

from attrs import define

from homeserver.core.errors import MatrixError, invalid_param
from homeserver.core.event_build import Draft
from homeserver.core.room_founding import CREATE, NewRoom, create_content, first_state
from homeserver.services.membership import Memberships
from homeserver.services.now import now_ms
from homeserver.services.timeline import Timeline
from storage.database import UniqueViolation
from storage.directory import find_aliases
from storage.events import StoredEvent
from storage.room_batches import Listing

MAX_FIRST_EVENTS = 300  # building them keeps everybody else waiting
ATTEMPTS = 3


@define(eq=False)
class RoomCreation:
    """Founds rooms."""

    timeline: Timeline
    memberships: Memberships
    _last_ts: int = 0

    async def create(
        self, room: NewRoom, *, published: bool = False, predecessor: Sequence[Draft] = ()
    ) -> tuple[str, list[StoredEvent]]:
        """Make the room; gives its id and its first events."""
        self.memberships.refuse_remote(room.invite)
        if len(room.invite) + len(room.initial_state) > MAX_FIRST_EVENTS:
            raise invalid_param(f"A room cannot begin with more than {MAX_FIRST_EVENTS} events")
        await self._refuse_taken(room)
        listing = await self._listing(room, published)
        members = await self._member_contents(room)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                made, events = await self.timeline.create(
                    room.version, self._drafts(room, members), listing=listing
                )
            except UniqueViolation:
                await self._refuse_taken(room)
                if attempt == ATTEMPTS:
                    raise
                continue  # another process made the same create event in the same millisecond
            except MatrixError as refusal:
                raise _invalid_state(refusal) from refusal
            return made.room_id, events
        raise AssertionError("unreachable")

    async def _refuse_taken(self, room: NewRoom) -> None:
        if room.alias is None:
            return
        async with self.timeline.writing.database.read() as conn:
            taken = await find_aliases(conn, [room.alias])
        if taken:
            raise MatrixError(400, "M_ROOM_IN_USE", "The room alias is taken")

    async def _listing(self, room: NewRoom, published: bool) -> Listing | None:
        if room.alias is None and not published:
            return None
        creator_nid = await self.timeline.writing.state_keys.user_nid(room.creator)
        return Listing((room.alias, creator_nid) if room.alias is not None else None, published)

    async def _member_contents(self, room: NewRoom) -> list[tuple[str, dict[str, Any]]]:
        """The creator's join, then the invites."""
        profiles = await self.memberships.contents.profiles([room.creator, *room.invite])
        direct = {"is_direct": True} if room.is_direct else {}
        invited = [user for user in dict.fromkeys(room.invite) if user != room.creator]
        return [
            (room.creator, {**profiles.get(room.creator, {}), "membership": "join"}),
            *[(user, {**profiles.get(user, {}), **direct, "membership": "invite"}) for user in invited],
        ]

    def _drafts(self, room: NewRoom, members: Sequence[tuple[str, dict[str, Any]]]) -> list[Draft]:
        (creator, joins), *invites = members
        state = [
            (CREATE, create_content(room)),
            (("m.room.member", creator), joins),
            *first_state(room),
            *[(("m.room.member", user), content) for user, content in invites],
        ]
        room_id = None if room.version.room_id_is_create_hash else self._new_room_id()
        # Ids that are hashes differ only if the create events do: no two of ours carry the same time.
        self._last_ts = ts = max(now_ms(), self._last_ts + 1)
        return [Draft(key[0], creator, content, ts, room_id, key[1]) for key, content in state]

    def _new_room_id(self) -> str:
        return f"!{secrets.token_urlsafe(18)}:{self.timeline.identity.server_name}"


def _invalid_state(refusal: MatrixError) -> MatrixError:
    """What the rules forbid was the fault of the request's parameters [cs "Creation"]."""
    if refusal.errcode != "M_FORBIDDEN":
        return refusal
    return MatrixError(400, "M_INVALID_ROOM_STATE", f"The room cannot begin like this: {refusal.message}")
