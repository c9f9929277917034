"""Who enters and leaves rooms, as far as this server can decide it alone [cs "Room membership"].

Every change is one `Move`, judged by the rooms' own rules in the writer; here stands only what the rules do not
say: what repeats nothing, what each verb of the client API demands of the membership before, guests, profiles.
`Elsewhere` is asked where other servers have a say: users of theirs are invited, rooms of theirs left.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

import structlog
from attrs import frozen

from homeserver.core.auth.state import JOIN_RULES
from homeserver.core.errors import MatrixError, forbidden, invalid_param, not_found
from homeserver.core.event import Event
from homeserver.core.event_build import Draft
from homeserver.core.ids import is_user_id
from homeserver.core.membership import BAN, INVITE, JOIN, KNOCK, LEAVE
from homeserver.services.application_services.introducing import Introduce, nobody_comes
from homeserver.services.member_content import MemberContents, Move
from homeserver.services.now import now_ms
from homeserver.services.policy_lists import PolicyLists
from homeserver.services.restricted_joins import AUTHORIZER, RestrictedJoins
from homeserver.services.room_heads import Head
from homeserver.services.timeline import Timeline
from homeserver.services.unwanted import refuse_unwelcome_invites
from storage import current_events, memberships
from storage.committer import Touched
from storage.database import Connection
from storage.events import StoredEvent
from storage.room_batches import MEMBERSHIPS
from storage.rooms import Room
from storage.server_notices import notice_room_of
from storage.state_keys import user_key

log = structlog.get_logger(__name__)

GUEST_ACCESS = ("m.room.guest_access", "")
MOVES_AT_ONCE = 4  # of one user in all of their rooms, or of many in one

# Decides by the membership before: raises, or says whether anything is to be done.
Check = Callable[[str | None], bool]


class Elsewhere(Protocol):
    """Other servers, as far as memberships need them."""

    async def invite(self, draft: Draft) -> StoredEvent:
        """Invite a user of another server, which signs the invite."""
        ...

    async def leave(self, room_id: str, user_id: str, reason: str | None) -> bool:
        """Decline an invitation to, or take back a knock upon, a room that we do not follow; False: there is none."""
        ...


@frozen
class Nowhere:
    """For a server that is alone."""

    async def invite(self, draft: Draft) -> StoredEvent:
        raise forbidden("This server does not federate, so users of other servers cannot be invited")

    async def leave(self, room_id: str, user_id: str, reason: str | None) -> bool:
        return False


@frozen
class Memberships:
    """The local half of joining, leaving, inviting, kicking, banning and knocking."""

    timeline: Timeline
    contents: MemberContents
    restricted: RestrictedJoins
    elsewhere: Elsewhere = Nowhere()
    introduce: Introduce = nobody_comes  # who is to be invited
    policies: PolicyLists | None = None

    async def join(
        self, room_id: str, user_id: str, *, reason: str | None = None, is_guest: bool = False
    ) -> None:
        """Enter a room; nothing happens for who is in it already."""
        await self.enter(
            Move(room_id=room_id, sender=user_id, target=user_id, membership=JOIN, reason=reason),
            is_guest=is_guest,
        )

    async def enter(self, move: Move, *, is_guest: bool = False) -> StoredEvent | None:
        """Join by `move`, with the authorization that a restricted room asks for."""
        room = (await self.timeline.head(move.room_id)).room
        authorization = await self.restricted.authorization(room, move.target)
        # Who vouches is our choice: one that the client named would also stand when an invite ends meanwhile.
        extra = {name: value for name, value in move.extra.items() if name != AUTHORIZER}
        move = Move(
            room_id=move.room_id,
            sender=move.sender,
            target=move.target,
            membership=JOIN,
            reason=move.reason,
            extra={**extra, **authorization},
            ts=move.ts,
        )
        changes_profile = len(move.extra) > len(authorization)
        return await self.make(move, lambda before: before != JOIN or changes_profile, is_guest=is_guest)

    async def refuse_banned(self, room_id: str) -> None:
        """M_FORBIDDEN where policy lists ban the room."""
        if self.policies is not None and await self.policies.bans_room(room_id):
            raise _banned_room()

    async def leave(self, room_id: str, user_id: str, *, reason: str | None = None) -> None:
        """Leave a room, decline an invitation or take a knock back; nothing happens for who has left."""
        if await self.elsewhere.leave(room_id, user_id, reason):
            return
        async with self.timeline.writing.database.read() as conn:
            is_notices = await notice_room_of(conn, user_id) == room_id
        move = Move(room_id=room_id, sender=user_id, target=user_id, membership=LEAVE, reason=reason)
        await self.make(move, _may_leave_notices if is_notices else lambda before: before != LEAVE)

    async def invite(self, move: Move) -> None:
        """Ask somebody to join, of any server."""
        await self.make(move, lambda before: True)

    async def kick(self, move: Move) -> None:
        """Make somebody leave who is in the room, invited or knocking."""
        await self.make(move, _in_room)

    async def ban(self, move: Move) -> None:
        """Keep somebody out."""
        await self.make(move, lambda before: True)

    async def unban(self, move: Move) -> None:
        """Lift a ban."""
        await self.make(move, _banned)

    async def knock(self, room_id: str, user_id: str, *, reason: str | None = None) -> None:
        """Ask to be let in."""
        move = Move(room_id=room_id, sender=user_id, target=user_id, membership=KNOCK, reason=reason)
        await self.make(move, lambda before: before != KNOCK)

    async def make(self, move: Move, check: Check, *, is_guest: bool = False) -> StoredEvent | None:
        """Write the member event, unless `check` says that there is nothing to do or it would repeat the last one."""
        if not is_user_id(move.target):
            raise invalid_param("user_id must be a user id")
        if self.policies is not None and move.membership == INVITE:
            await self.policies.refuse_inviter(move.sender, move.room_id)
        content = await self.contents.of(move)
        ts = now_ms() if move.ts is None else move.ts
        draft = Draft("m.room.member", move.sender, content, ts, move.room_id, move.target)
        if move.membership == INVITE and not self.timeline.identity.is_ours(move.target):
            return await self.elsewhere.invite(draft)
        if move.membership == INVITE:
            await self.introduce(move.target)
            async with self.timeline.writing.database.read() as conn:
                await refuse_unwelcome_invites(conn, move.sender, [move.target])
        key = user_key(move.target)
        enters = move.membership in (JOIN, KNOCK)
        banned = enters and self.policies is not None and await self.policies.bans_room(move.room_id)

        def decide(head: Head) -> list[Draft]:
            before = head.event(key)
            if banned and (before is None or before.membership != JOIN):  # who is in it stays
                raise _banned_room()
            if is_guest:
                _admit_guest(head)
            wanted = check(None if before is None else before.membership)
            return [draft] if wanted and not _repeats(draft, before) else []

        made = await self.timeline.change(move.room_id, [key, JOIN_RULES, GUEST_ACCESS], decide)
        return made[0] if made else None

    async def leave_all(self, user_id: str) -> None:
        """Leave every room, as a deactivated account must [cs "Deactivation"]."""
        wanted = [MEMBERSHIPS[membership] for membership in (JOIN, INVITE, KNOCK)]
        await self._in_each(user_id, wanted, lambda room_id: self.leave(room_id, user_id))

    async def check_guest(self, room_id: str, user_id: str) -> None:
        """A guest whom another server has let in stays only where guests are welcome: now we know the room."""
        async with self.timeline.writing.database.read() as conn:
            reader = self.timeline.writing.reader
            room = await reader.rooms.find(conn, room_id)
            found = await current_events.of_keys(conn, reader, room.nid, [GUEST_ACCESS]) if room else {}
        stored = found.get(GUEST_ACCESS)
        if not welcomes_guests(None if stored is None else stored.event):
            await self.leave(room_id, user_id)
            raise guests_unwelcome()

    async def leave_guests(self, room: Room) -> None:
        """Guests leave a room that is not open to them any more [cs "Guest Access"]."""
        async with self.timeline.writing.database.read() as conn:
            guests = await memberships.joined_guests(conn, room.nid)
        await self._each(guests, lambda user_id: self.leave(room.room_id, user_id))

    async def profile_changed(self, user_id: str) -> None:
        """Tell every joined room what the user's name and avatar are now [cs "Profiles"]."""

        async def renew(room_id: str) -> None:
            move = Move(room_id=room_id, sender=user_id, target=user_id, membership=JOIN)
            await self.make(move, lambda before: before == JOIN)

        await self._in_each(user_id, [MEMBERSHIPS[JOIN]], renew)

    async def forget(self, room_id: str, user_id: str) -> None:
        """Show the user nothing of a room any more that they have left."""
        user_nid = await self.timeline.writing.state_keys.user_nid(user_id)
        async with self.timeline.writing.database.read() as conn:
            room = await self.timeline.writing.reader.rooms.find(conn, room_id)
            known = await memberships.local_membership(conn, user_nid, room.nid) if room else None
        if room is None or known is None:
            raise not_found("You have never been in this room")
        if known.membership not in (MEMBERSHIPS[LEAVE], MEMBERSHIPS[BAN]):
            raise MatrixError(400, "M_UNKNOWN", "Leave the room before you forget it")

        async def job(conn: Connection, position: int) -> None:
            await memberships.forget(conn, user_nid, room.nid)

        await self.timeline.writing.committer.run(job, Touched(users=(user_nid,)))

    async def _in_each(
        self, user_id: str, having: Sequence[int], work: Callable[[str], Awaitable[None]]
    ) -> None:
        """Do something in each of the user's rooms; one that refuses does not keep it from the others."""
        user_nid = await self.timeline.writing.state_keys.user_nid(user_id)
        async with self.timeline.writing.database.read() as conn:
            found = await memberships.local_memberships(conn, user_nid, memberships=having)
            rooms = await self.timeline.heads.reader.rooms.by_nids(conn, [one.room_nid for one in found])
        await self._each([room.room_id for room in rooms.values()], work)

    async def _each(self, names: Iterable[str], work: Callable[[str], Awaitable[None]]) -> None:
        """Do something for each room or user, a few at a time."""
        turn = asyncio.Semaphore(MOVES_AT_ONCE)

        async def one(name: str) -> None:
            async with turn:
                try:
                    await work(name)
                except MatrixError as refusal:
                    log.warning("a member event was refused", of=name, why=str(refusal))

        await asyncio.gather(*map(one, names))


def _may_leave_notices(before: str | None) -> bool:
    """What the server has to say cannot be declined unread [cs "Server Notices"]."""
    if before == INVITE:
        text = "You cannot decline notices of the server"
        raise MatrixError(403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM", text)
    return before != LEAVE


def _in_room(before: str | None) -> bool:
    if before not in (JOIN, INVITE, KNOCK):
        raise forbidden("The user is not in the room")
    return True


def _banned(before: str | None) -> bool:
    if before != BAN:
        raise MatrixError(403, "M_BAD_STATE", "The user is not banned")
    return True


def _repeats(draft: Draft, before: Event | None) -> bool:
    """Has the same sender said just this already?"""
    return before is not None and before.sender == draft.sender and before.content == draft.content


def _admit_guest(head: Head) -> None:
    """Guests enter only where they are welcome [cs "Guest Access"]."""
    if not welcomes_guests(head.event(GUEST_ACCESS)):
        raise guests_unwelcome()


def welcomes_guests(access: Event | None) -> bool:
    """May guests be in a room with this m.room.guest_access? [cs "Guest Access"]"""
    return access is not None and access.content.get("guest_access") == "can_join"


def guests_unwelcome() -> MatrixError:
    """A room is closed to guests."""
    return MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "Guests cannot join this room")


def _banned_room() -> MatrixError:
    return forbidden("This server does not enter this room")
