"""New rooms: all first events, the alias and the publication are one commit, or nothing is left [cs "Creation"]."""

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from attrs import define, field

from homeserver.core.errors import MatrixError, invalid_param
from homeserver.core.event_build import Draft
from homeserver.core.ids import is_user_id
from homeserver.core.membership import INVITE
from homeserver.core.room_founding import CREATE, NewRoom, StateDraft, create_content, first_state
from homeserver.core.room_versions import RoomVersion
from homeserver.services.member_content import Move
from homeserver.services.membership import Memberships
from homeserver.services.now import now_ms
from homeserver.services.timeline import Timeline
from homeserver.services.unwanted import refuse_unwelcome_invites
from storage.database import UniqueViolation
from storage.directory import find_aliases
from storage.room_batches import Listing
from storage.state_keys import user_key

MAX_FIRST_EVENTS = 300  # building them keeps everybody else waiting
ATTEMPTS = 3
PATIENCE = 10.0  # seconds for other servers to take invites into a new room

log = structlog.get_logger(__name__)


@define(eq=False)
class RoomCreation:
    """Founds rooms."""

    timeline: Timeline
    memberships: Memberships
    _last_ts: int = 0
    _inviting: set["asyncio.Task[None]"] = field(factory=set)

    async def create(self, room: NewRoom, *, published: bool = False) -> str:
        """Make a room as somebody wants it; gives its id."""
        if not all(map(is_user_id, room.invite)):
            raise invalid_param("Only user ids can be invited")
        if len(room.invite) + len(room.initial_state) > MAX_FIRST_EVENTS:
            raise invalid_param(f"A room cannot begin with more than {MAX_FIRST_EVENTS} events")
        await self._refuse_unwelcome(room)
        await self._refuse_taken(room)
        listing = await self._listing(room, published)
        (_, joins), *members = await self._member_contents(room)
        is_ours = self.timeline.identity.is_ours
        invites = [(user, content) for user, content in members if is_ours(user)]
        remote = [user for user, _ in members if not is_ours(user)]
        state = [
            (CREATE, create_content(room)),
            (user_key(room.creator), joins),
            *first_state(room),
            *[(user_key(user), content) for user, content in invites],
        ]
        for attempt in range(1, ATTEMPTS + 1):
            try:
                room_id = await self.begin(room.version, room.creator, state, listing=listing)
                await self._invite_elsewhere(room, room_id, remote)
                return room_id
            except UniqueViolation:
                # The alias was taken just now, or another process made the same create event at the same time.
                await self._refuse_taken(room)
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    async def begin(
        self,
        version: RoomVersion,
        creator: str,
        state: Sequence[StateDraft],
        *,
        room_id: str | None = None,
        listing: Listing | None = None,
    ) -> str:
        """Make a room of exactly these events, in one commit; gives its id."""
        if room_id is None and not version.room_id_is_create_hash:
            room_id = self.new_room_id()
        # Ids that are hashes differ only if the create events do: no two of ours carry the same time.
        self._last_ts = ts = max(now_ms(), self._last_ts + 1)
        drafts = [Draft(key[0], creator, content, ts, room_id, key[1]) for key, content in state]
        try:
            made, _ = await self.timeline.create(version, drafts, listing=listing)
        except MatrixError as refusal:
            raise _invalid_state(refusal) from refusal
        return made.room_id

    async def _invite_elsewhere(self, room: NewRoom, room_id: str, users: Iterable[str]) -> None:
        """Users of other servers, once the room is there; slow servers do not keep the creator waiting."""
        direct = {"is_direct": True} if room.is_direct else {}
        moves = [
            Move(room_id=room_id, sender=room.creator, target=user, membership=INVITE, extra=direct)
            for user in users
        ]
        tasks = {asyncio.create_task(self._invite(move)) for move in moves}
        if tasks:
            self._inviting |= tasks
            for task in tasks:
                task.add_done_callback(self._inviting.discard)
            await asyncio.wait(tasks, timeout=PATIENCE)

    async def _invite(self, move: Move) -> None:
        """The room exists whether or not the invite is taken; the creator sees who was invited."""
        try:
            await self.memberships.invite(move)
        except MatrixError as refusal:
            log.warning(
                "an invite into a new room failed",
                room_id=move.room_id,
                user_id=move.target,
                why=str(refusal),
            )

    async def _refuse_unwelcome(self, room: NewRoom) -> None:
        async with self.timeline.writing.database.read() as conn:
            await refuse_unwelcome_invites(conn, room.creator, room.invite)

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

    def new_room_id(self) -> str:
        """An id for a room whose id is chosen, until v11 [rooms/v1 "Room IDs"]."""
        return f"!{secrets.token_urlsafe(18)}:{self.timeline.identity.server_name}"


def _invalid_state(refusal: MatrixError) -> MatrixError:
    """What the rules forbid was the fault of the request's parameters [cs "Creation"]."""
    if refusal.errcode != "M_FORBIDDEN":
        return refusal
    return MatrixError(400, "M_INVALID_ROOM_STATE", f"The room cannot begin like this: {refusal.message}")
