"""The loop of those who follow the clock: read what is new, write what they make of it, move their bookmark.

All three are one transaction, so nothing is done twice or left out, whatever crashes. The row of the bookmark is
locked meanwhile: of several processes one is at it. Commits of this process say that there is something to read; what
other processes wrote is looked for every few seconds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NoReturn

from attrs import define, field

from homeserver.services.commit_news import CommitNews
from homeserver.services.turns import take_turns
from storage.database import Connection, Database
from storage.following import NewEvent, bookmark, events_of_types, move_bookmark
from storage.streams import current_position

SPAN = 500  # numbers of the clock that are taken in one transaction
PAUSE = 0.25  # seconds in which what happens gathers, unless somebody waits for it
POLL = 5.0

Take = Callable[[Connection, Sequence[NewEvent]], Awaitable[None]]


@define(eq=False)
class Follower:
    """One of them. `take` writes what it makes of some events of `types`, oldest first."""

    name: str
    types: Sequence[str]
    take: Take
    database: Database
    news: CommitNews
    position: int = 0
    _hurry: asyncio.Event = field(factory=asyncio.Event, init=False)
    _moved: asyncio.Event = field(factory=asyncio.Event, init=False)
    _heard: int = field(default=0, init=False)

    async def run(self) -> NoReturn:
        """Follow, until cancelled."""
        await take_turns(self._turn, self.news, self.name)

    async def follow(self) -> None:
        """Take all that is new by now."""
        news = self.news.take()
        silent, self._heard = news.position == self._heard, news.position
        if not (news.everywhere or news.lengths or silent):  # in silence other processes may have written
            self._reach(news.position)
            return
        async with self.database.read() as conn:
            now = await current_position(conn)
        while self.position < now and await self._page(now):
            pass

    async def reached(self, position: int, timeout: float) -> bool:
        """Wait until everything up to a position is taken, `timeout` seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self.position < position:
                    self._hurry.set()
                    self._moved.clear()
                    await self._moved.wait()
        return self.position >= position

    async def _turn(self) -> None:
        await self.follow()
        await self.news.wait(POLL)
        await self._gather()

    async def _gather(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(PAUSE):
                await self._hurry.wait()
        self._hurry.clear()

    async def _page(self, now: int) -> bool:
        """The next events; False where another process is at it."""
        async with self.database.transaction() as conn:
            after = await bookmark(conn, self.name)
            if after is None:
                return False
            after = max(after, self.position)  # in between there was nothing, which is not written down
            upto = max(after, min(now, after + SPAN))
            events = await events_of_types(conn, self.types, after, upto)
            if events:
                await self.take(conn, events)
            if events or upto - after >= SPAN:
                await move_bookmark(conn, self.name, upto)
        self._reach(upto)
        return True

    def _reach(self, position: int) -> None:
        self.position = max(self.position, position)
        self._moved.set()
