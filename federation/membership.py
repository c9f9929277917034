"""Memberships of our users in rooms of any server: what can be done here is, for the rest other servers are asked."""

from collections.abc import Iterable

from attrs import frozen

from federation.inviting import Inviting
from federation.joining import Joining
from federation.knocking import Knocking
from federation.leaving import Leaving
from homeserver.core.errors import MatrixError, forbidden
from homeserver.core.event_build import Draft
from homeserver.core.membership import JOIN, KNOCK
from homeserver.services.member_content import Move
from homeserver.services.membership import Memberships, guests_unwelcome
from homeserver.services.restricted_joins import needs_others
from storage.events import StoredEvent


@frozen
class OtherServers:
    """What the services ask of other servers."""

    inviting: Inviting
    leaving: Leaving

    async def invite(self, draft: Draft) -> StoredEvent:
        """Invite a user of another server, which signs the invite."""
        return await self.inviting.invite(draft)

    async def leave(self, room_id: str, user_id: str, reason: str | None) -> bool:
        """Decline an invitation, or take back a knock, of a room that we do not follow; False: there is none."""
        return await self.leaving.leave(room_id, user_id, reason)


@frozen
class Entrances:
    """The ways into rooms, whoever is in them."""

    memberships: Memberships
    joining: Joining
    knocking: Knocking

    async def join(self, move: Move, via: Iterable[str] = (), *, is_guest: bool = False) -> None:
        """Enter a room; nothing happens for who is in it already."""
        servers = list(via)
        if not await self._followed(move.room_id):
            await self.memberships.refuse_banned(move.room_id)
            # What the room thinks of guests is known only inside: they enter when asked to [cs "Guest Access"].
            if is_guest and not await self.joining.candidates.remote_rooms.awaits(move.room_id, move.target):
                raise guests_unwelcome()
            if await self.joining.join(move, servers):
                if is_guest:
                    await self.memberships.check_guest(move.room_id, move.target)
                return
        try:
            await self.memberships.enter(move, is_guest=is_guest)
        except MatrixError as refusal:
            if not needs_others(refusal):
                raise
            if not await self.joining.join_followed(move, servers):
                raise forbidden(refusal.message) from refusal

    async def knock(self, move: Move, via: Iterable[str] = ()) -> None:
        """Ask to be let in."""
        if await self._followed(move.room_id):
            await self.memberships.knock(move.room_id, move.target, reason=move.reason)
        else:
            await self.memberships.refuse_banned(move.room_id)
            await self.knocking.knock(move, via)

    async def _followed(self, room_id: str) -> bool:
        if self.memberships.timeline.heads.is_followed(room_id):
            return True
        return await self.joining.candidates.remote_rooms.is_resident(room_id)


def joins(room_id: str, user_id: str, reason: str | None) -> Move:
    """Somebody enters."""
    return Move(room_id=room_id, sender=user_id, target=user_id, membership=JOIN, reason=reason)


def knocks(room_id: str, user_id: str, reason: str | None) -> Move:
    """Somebody asks to be let in."""
    return Move(room_id=room_id, sender=user_id, target=user_id, membership=KNOCK, reason=reason)
