"""Keeps rooms from having many open ends: an event of ours that says nothing joins them.

Each step of a room with many extremities resolves the states of all of them, and anybody in a room can make more.
Servers join some with each event that they send; where nobody of ours has anything to say, we say so. Such an event
is not sent to others (see `storage.outbound_events`): they would be told of it by all servers at once, and every one of
these events is another end. Whoever needs it asks for it.
"""

import asyncio
from collections.abc import Sequence
from typing import NoReturn

import structlog
from attrs import define, field

from homeserver.core.auth.state import CREATE, POWER_LEVELS
from homeserver.core.errors import MatrixError
from homeserver.core.event_build import Draft
from homeserver.core.power_levels import power_levels
from homeserver.services.now import now_ms
from homeserver.services.room_heads import Head
from homeserver.services.timeline import Timeline
from storage import restricted_joins
from storage.committer import Committed, HeadMoved, Overloaded
from storage.database import Unavailable
from storage.outbound_events import SAYS_NOTHING

log = structlog.get_logger(__name__)

MANY = 10  # extremities, as many as one event joins
MAX_ROOMS = 1_000  # that wait
PAUSE = 0.1  # seconds between two rooms: what comes in bursts has mostly come by then


@define(eq=False)
class ForkEnds:
    """Hears of commits. `run` is its life."""

    timeline: Timeline
    _waiting: set[int] = field(factory=set, init=False)  # rooms' numbers
    _something: asyncio.Event = field(factory=asyncio.Event, init=False)

    def heard(self, position: int, commits: Sequence[Committed]) -> None:
        """To be called after each turn of the committer."""
        for commit in commits:
            batch = commit.batch
            if batch is not None and len(batch.head.extremities) >= MANY:
                self.notice(batch.room_nid)

    def notice(self, room_nid: int) -> None:
        """A room has many ends."""
        if len(self._waiting) < MAX_ROOMS:
            self._waiting.add(room_nid)
            self._something.set()

    @property
    def waiting(self) -> int:
        """How many rooms wait for their turn."""
        return len(self._waiting)

    async def run(self) -> NoReturn:
        """One room after the other, until cancelled."""
        while True:
            await self._something.wait()
            await asyncio.sleep(PAUSE)
            if not self._waiting:
                self._something.clear()
                continue
            room_nid = self._waiting.pop()
            try:
                await self.join(room_nid)
            except (MatrixError, HeadMoved, Overloaded, Unavailable, TimeoutError) as cause:
                log.info("the ends of a room stay open", room_nid=room_nid, cause=repr(cause))

    async def join(self, room_nid: int) -> None:
        """Say nothing in a room until few ends are left, if one of ours may."""
        async with self.timeline.writing.database.read() as conn:
            room = (await self.timeline.writing.reader.rooms.by_nids(conn, [room_nid])).get(room_nid)
        if room is None:
            return
        head = await self.timeline.head(room.room_id)
        while len(head.extremities) >= MANY and (sender := await self._sender(head)) is not None:
            before = len(head.extremities)
            await self.timeline.send(Draft(SAYS_NOTHING, sender, {}, now_ms(), room.room_id))
            head = await self.timeline.head(room.room_id)
            if len(head.extremities) >= before:
                return  # they come faster than we can join them; the next commit says so again

    async def _sender(self, head: Head) -> str | None:
        """Somebody of ours in the room who may send it."""
        await self.timeline.heads.ensure(head, (CREATE, POWER_LEVELS))
        levels = power_levels(head.event(POWER_LEVELS), head.event(CREATE), head.room.version)
        needed = levels.to_send(SAYS_NOTHING, is_state=False)
        named = [user for user in {*levels.creators, *levels.users} if self.timeline.identity.is_ours(user)]
        able = [user for user in named if levels.of(user) >= needed]
        async with self.timeline.writing.database.read() as conn:
            found = await restricted_joins.first_joined(conn, head.room.nid, able) if able else None
            if found is None and levels.named["users_default"] >= needed:
                found = await restricted_joins.any_joined(conn, head.room.nid, set(named) - set(able))
        return found
