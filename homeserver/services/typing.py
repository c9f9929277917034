"""Typing notifications: who types where, each for a time [cs "Typing Notifications"].

Repeating "still typing" only puts off the end. The process that was told keeps the timer that ends it; others see the
time in the row.
"""

from collections.abc import Callable, Sequence

from attrs import field, frozen

from homeserver.core.errors import forbidden
from homeserver.services.background import Background
from homeserver.services.growth import Note
from homeserver.services.now import now_ms
from storage import typing as rows
from storage.committer import Committed, Committer, Kind, Touched
from storage.database import Connection, Database
from storage.memberships import JOIN, local_membership
from storage.rooms import RoomRegistry

LONGEST = 120_000  # milliseconds


@frozen(eq=False)
class TypingService:
    """Keeps who types."""

    database: Database
    committer: Committer
    rooms: RoomRegistry
    background: Background
    _timers: dict[tuple[int, int], Callable[[], None]] = field(factory=dict)  # what calls the ends off

    async def put(self, user_nid: int, room_id: str, timeout: int | None) -> None:
        """The user types for `timeout` milliseconds, or no longer. M_FORBIDDEN for who is not in the room."""
        async with self.database.read() as conn:
            room = await self.rooms.find(conn, room_id)
            local = await local_membership(conn, user_nid, room.nid) if room is not None else None
        if room is None or local is None or local.membership != JOIN:
            raise forbidden("You are not in this room")
        if timeout is None:
            await self.stop(room.nid, user_nid)
        else:
            await self.begin(room.nid, user_nid, min(timeout, LONGEST))

    async def begin(self, room_nid: int, user_nid: int, timeout: int) -> None:
        """The user types; a repetition is no news."""
        key = (room_nid, user_nid)
        running = self._timers.pop(key, None)
        until = now_ms() + timeout
        self._timers[key] = self.background.later(timeout / 1000, lambda: self._over(key))
        if running is not None:
            running()
            async with self.database.writer() as conn:
                await rows.prolong(conn, room_nid, user_nid, until)
        else:
            await self._change(room_nid, user_nid, until)

    async def stop(self, room_nid: int, user_nid: int) -> None:
        """The user does not type any more; nothing is told if they did not."""
        running = self._timers.pop((room_nid, user_nid), None)
        if running is not None:
            running()
        async with self.database.read() as conn:
            typing = await rows.of_room(conn, room_nid)
        if user_nid in typing.until:
            await self._change(room_nid, user_nid, None)

    def heard(self, position: int, commits: Sequence[Committed]) -> None:
        """Who leaves a room does not type there any more; the process that was told of it has the timer."""
        if not self._timers:
            return
        for commit in commits:
            if commit.batch is None or not isinstance(commit.batch.note, Note):
                continue
            for stored in commit.batch.note.events:
                key = (commit.batch.room_nid, stored.key_nid or 0)
                if key in self._timers and stored.event.membership not in (None, "join"):
                    self.background.start(self.stop(*key))

    async def _over(self, key: tuple[int, int]) -> None:
        self._timers.pop(key, None)
        await self._change(*key, None)

    async def _change(self, room_nid: int, user_nid: int, until: int | None) -> None:
        async def job(conn: Connection, position: int) -> None:
            await rows.change(
                conn, position, rows.Change(room_nid=room_nid, user_nid=user_nid, until=until, now=now_ms())
            )

        await self.committer.run(job, Touched(rooms=(room_nid,), kind=Kind.TYPING))
