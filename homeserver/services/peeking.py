"""Looking into rooms that all the world may read, without being in them: a device's peeks [MSC2753].

Most users never do. Which devices of an active user do is read once and then known (`ActiveUser.peeking`), until the
user's peeks change, so nobody else's syncs cost a query for it.
"""

from collections.abc import Sequence

from attrs import field, frozen

from homeserver.core.errors import MatrixError, forbidden, not_found
from homeserver.services.notifier import ActiveUser, Notifier
from homeserver.services.now import now_ms
from homeserver.services.room_access import RoomAccess, Visitor
from storage import memberships, peeks
from storage.committer import Committer, Kind, Touched
from storage.database import Connection, Database
from storage.room_batches import MEMBERSHIPS
from storage.rooms import Room

MOST_PEEKS = 50  # of one device; the oldest make room for new ones
LIFETIME = 7 * 24 * 3600 * 1000  # ms, unless the client renews the peek


@frozen
class PeekEnds:
    """What a sync noticed: rooms of which the client knows that it looks into them no more, and whose time is over."""

    known: Sequence[int] = ()
    expired: Sequence[int] = ()


@frozen
class Peeks:
    """Begins and ends peeks."""

    database: Database
    committer: Committer
    notifier: Notifier
    access: RoomAccess
    lifetime: int = field(default=LIFETIME, kw_only=True)  # ms

    async def begin(self, visitor: Visitor, room_id: str) -> int:
        """Look into a room from now on, or for longer; gives the time at which that ends."""
        device_nid = _device(visitor)
        async with self.database.read() as conn:
            room = await self._open_room(conn, visitor, room_id)
        until_ts = now_ms() + self.lifetime
        peek = peeks.Peek(visitor.user_nid, device_nid, room.nid, until_ts)

        async def job(conn: Connection, position: int) -> None:
            await peeks.begin(conn, position, peek, MOST_PEEKS)

        await self.committer.run(job, _touched(visitor.user_nid))
        return until_ts

    async def end(self, visitor: Visitor, room_id: str) -> None:
        """Look away. M_BAD_STATE: the device did not look there."""
        device_nid = _device(visitor)
        async with self.database.read() as conn:
            room = await self.access.reader.rooms.find(conn, room_id)
        ended = await self._end(visitor.user_nid, device_nid, [room.nid]) if room is not None else 0
        if not ended:
            raise MatrixError(400, "M_BAD_STATE", "You do not peek into this room")

    async def know(self, user: ActiveUser) -> None:
        """Find out whether any of the user's devices peeks, unless that is known."""
        while user.peeking is None:
            position, floor = self.notifier.position, user.floor
            async with self.database.read() as conn:
                rooms = await peeks.rooms_of_user(conn, user.user_nid)
            # What changed meanwhile may not be in this.
            if user.floor == floor and user.marks.last.get(Kind.PEEKS, 0) <= position:
                self.notifier.look_on(user, rooms)

    async def settle(self, user: ActiveUser, device_nid: int, ends: PeekEnds, upto: int) -> None:
        """Write down what a sync noticed; `upto` is where the client knows everything."""
        if ends.known:
            async with self.database.writer() as conn:
                await peeks.forget(conn, device_nid, ends.known, upto)
            self.notifier.look_again(user)
        if ends.expired:
            await self._end(user.user_nid, device_nid, ends.expired)

    async def _end(self, user_nid: int, device_nid: int, room_nids: Sequence[int]) -> int:
        async def job(conn: Connection, position: int) -> int:
            return await peeks.end(conn, position, device_nid, room_nids)

        return await self.committer.run(job, _touched(user_nid))

    async def _open_room(self, conn: Connection, visitor: Visitor, room_id: str) -> Room:
        room = await self.access.reader.rooms.find(conn, room_id)
        if room is None:
            raise not_found("This server knows no such room")
        local = await memberships.local_membership(conn, visitor.user_nid, room.nid)
        if local is not None and local.membership == MEMBERSHIPS["join"]:
            raise MatrixError(400, "M_BAD_STATE", "You are in this room already")
        if not await self.access.is_world_readable(conn, room):
            raise forbidden("Not everybody may read this room")
        return room


def _device(visitor: Visitor) -> int:
    if visitor.device_nid is None:
        raise forbidden("Only devices can peek into rooms")
    return visitor.device_nid


def _touched(user_nid: int) -> Touched:
    return Touched(users=(user_nid,), kind=Kind.PEEKS)
