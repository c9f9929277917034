"""Pages of a room's timeline that go on where what we have begins.

A reader waits only for what their page lacks: briefly where there is something to tell, longer where there is nothing.
When they come near the beginning, fetching starts beside.
"""

import asyncio
import contextlib

from attrs import frozen

from federation.backfill import Backfill
from homeserver.services.history import PageRequest
from homeserver.services.room_access import View
from storage import histories_behind, pages
from storage.database import Connection, Database

LOOK_AHEAD = 2  # pages
PATIENCE_WITH_NOTHING = 10.0  # seconds
PATIENCE_WITH_SOMETHING = 1.5
PAGES_FOR_A_TIME = 10
MAX_FETCHES = 5  # for one page


@frozen
class Shortage:
    """A page that comes near the beginning of what we have, or near a gap in it (in front of `position`).

    `patience`: how long its reader waits for more.
    """

    patience: float
    position: int = 0


@frozen
class DeepHistory:
    """Knows when a page runs short, and gets more."""

    backfill: Backfill

    async def shortage(self, conn: Connection, view: View, wanted: PageRequest) -> Shortage | None:
        """Is there less than the next pages may want, and would other servers have more?"""
        if not wanted.backwards or view.membership != "join" or not wanted.limit:
            return None
        room_nid, (low, high) = view.room.nid, wanted.bounds(view)
        gap = await self._gap(conn, view, wanted)
        if gap is not None:
            above = await histories_behind.newest_place(conn, room_nid, high, wanted.limit)
            return Shortage(
                _patience(gap.position <= high, above is not None and above >= gap.position), gap.position
            )
        if await histories_behind.count_below(conn, room_nid, low + 1, 1):
            return None  # the page ends where it was told to
        most = wanted.limit * LOOK_AHEAD
        here = await histories_behind.count_below(conn, room_nid, high + 1, most)
        if here == most or await histories_behind.edge(conn, room_nid, 1) is None:
            return None
        return Shortage(_patience(bool(here), here >= wanted.limit))

    async def fetch(self, database: Database, view: View, wanted: PageRequest, shortage: Shortage) -> None:
        """Get more, as far as the reader's patience goes: also behind what came, as long as the page is short of it."""
        lacking: Shortage | None = shortage
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_WITH_NOTHING):
                for _ in range(MAX_FETCHES):
                    if lacking is None or not await self.backfill.reach(
                        view.room, lacking.patience, lacking.position
                    ):
                        return
                    async with database.read() as conn:
                        lacking = await self.shortage(conn, view, wanted)
                    if lacking is not None and not lacking.patience:
                        return

    async def before_gap(self, conn: Connection, view: View, wanted: PageRequest) -> int | None:
        """Where the page should end because of a gap that may still be filled; None: nowhere, it may go on."""
        if not wanted.backwards or view.membership != "join" or not wanted.limit:
            return None
        gap = await self._gap(conn, view, wanted)
        if gap is None or gap.position > wanted.bounds(view)[1]:
            return None
        return gap.position - 1

    async def _gap(self, conn: Connection, view: View, wanted: PageRequest) -> histories_behind.Edge | None:
        """The first gap that the next pages come to, unless nobody could help lately."""
        room_nid, (low, high) = view.room.nid, wanted.bounds(view)
        reach = await histories_behind.newest_place(conn, room_nid, high, wanted.limit * LOOK_AHEAD)
        lowest = max(low, reach - 1) if reach is not None else low
        gap = await histories_behind.gap(conn, room_nid, max(lowest, 0), min(high, pages.LAST - 1) + 1, 1)
        return None if gap is None or self.backfill.rests(view.room, gap.position) else gap

    async def back_to(self, database: Database, view: View, ts: int) -> None:
        """Get history until it goes back to a time, as far as the reader's patience and some pages go."""
        if view.membership != "join":
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_WITH_NOTHING):
                for _ in range(PAGES_FOR_A_TIME):
                    async with database.read() as conn:
                        edge = await histories_behind.edge(conn, view.room.nid, 1)
                        oldest = await histories_behind.lowest_ts(conn, view.room.nid)
                    if edge is None or oldest is None or oldest < ts:
                        return
                    if not await self.backfill.reach(view.room, PATIENCE_WITH_NOTHING):
                        return

    async def end(self, conn: Connection, view: View) -> int | None:
        """Where to go on behind the last of our events; None if nobody has more, or not now."""
        if self.backfill.rests(view.room) or await histories_behind.edge(conn, view.room.nid, 1) is None:
            return None
        return await histories_behind.lowest(conn, view.room.nid) - 1


def _patience(something: bool, enough: bool) -> float:
    if enough:
        return 0
    return PATIENCE_WITH_SOMETHING if something else PATIENCE_WITH_NOTHING
