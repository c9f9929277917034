"""PDUs that wait for other events: one gap a room and sender is closed at a time, beside the work on rooms.

However many servers send events that lead nowhere, a bounded number of gaps is worked on, and of one server fewer:
what is over that stays on disk for a while. When an event comes by itself that something waits for, that goes on.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence

import structlog
from attrs import define, field, frozen

from federation.gaps import Gaps
from federation.ledger import Ledger
from homeserver.services.judging import Arrival, Waiting
from storage.committer import HeadMoved, Overloaded
from storage.database import Unavailable
from storage.inbound_pdus import WaitingPdu
from storage.rooms import Room

log = structlog.get_logger(__name__)

GAPS = 16  # closed at a time
GAPS_EACH = 4  # of one server
AT_ONCE = 200  # events in front of one gap; more wait for the next time
LEASE = 600_000  # milliseconds: longer than closing a gap may take
SOON = 5_000
MAX_WANTED = 10_000  # ids of missing events that are remembered

TEMPORARY = (Unavailable, Overloaded, HeadMoved, TimeoutError)

_Key = tuple[int, str]


@frozen
class Stuck:
    """A PDU that has passed checks 1 to 3 and waits for what it points at."""

    row: WaitingPdu
    arrival: Arrival
    waiting: Waiting


@define(eq=False)
class GapQueue:
    """Closes gaps, and gives rows their verdicts."""

    gaps: Gaps
    ledger: Ledger
    _running: dict[_Key, list[int]] = field(factory=dict, init=False)  # with rows that wait for the next time
    _each: Counter[str] = field(factory=Counter, init=False)
    _wanted: OrderedDict[str, set[tuple[int, ...]]] = field(factory=OrderedDict, init=False)  # rows
    _tasks: asyncio.TaskGroup | None = field(default=None, init=False)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            await asyncio.get_running_loop().create_future()

    async def take(self, room: Room, stuck: Sequence[Stuck]) -> None:
        """Close the gaps in front of these, or leave them for later."""
        self._want(stuck)
        early = [one for one in stuck if one.row.early]
        await self.ledger.leave([one.row for one in early])
        await self._recheck(early)
        by_origin: dict[str, list[Stuck]] = {}
        for one in stuck:
            if not one.row.early:
                by_origin.setdefault(one.row.origin, []).append(one)
        for origin, ones in by_origin.items():
            key = (room.nid, origin)
            now, later = (ones[:AT_ONCE], ones[AT_ONCE:]) if self._is_free(key) else ([], ones)
            if now and self._tasks is not None:
                await self.ledger.lend([one.row for one in now], LEASE)
                self._running[key] = []
                self._each[origin] += 1
                self._tasks.create_task(self._close(room, origin, now), name="gap")
            if later:
                await self._put_off(key, later)
                await self._recheck(later)

    async def _put_off(self, key: _Key, later: Sequence[Stuck]) -> None:
        """For a short while, or until the room's gap that is being closed is."""
        busy = key in self._running
        await self.ledger.lend([one.row for one in later], SOON)
        nids = [one.row.pdu_nid for one in later]
        if key in self._running:
            self._running[key] += nids
        elif busy:  # it has been closed while we were writing
            await self.ledger.make_due(nids)

    async def heard(self, event_ids: Iterable[str]) -> None:
        """These events have come: what waits for them may go on."""
        groups = [group for event_id in event_ids for group in self._wanted.pop(event_id, ())]
        await self.ledger.make_due({pdu_nid for group in groups for pdu_nid in group})

    async def _recheck(self, stuck: Sequence[Stuck]) -> None:
        """What was heard of while these were being put off has put them off in vain."""
        if not missing_in_front(stuck) <= self._wanted.keys():
            await self.ledger.make_due([one.row.pdu_nid for one in stuck])

    def _want(self, stuck: Sequence[Stuck]) -> None:
        """Remember what is missing in front of all of these: with it they come up together again."""
        group = tuple(one.row.pdu_nid for one in stuck)
        for event_id in missing_in_front(stuck):
            self._wanted.setdefault(event_id, set()).add(group)
        while len(self._wanted) > MAX_WANTED:
            self._wanted.popitem(last=False)

    def _is_free(self, key: _Key) -> bool:
        return key not in self._running and len(self._running) < GAPS and self._each[key[1]] < GAPS_EACH

    async def _close(self, room: Room, origin: str, stuck: Sequence[Stuck]) -> None:
        try:
            await self._judge(room, origin, stuck)
        except Exception:  # whatever it is, the rows are tried again at most some times
            log.exception("gap not closed", room_id=room.room_id, origin=origin)
            await self._give_back(room, [one.row for one in stuck])
        finally:
            later = self._running.pop((room.nid, origin))
            self._each[origin] -= 1
            if not self._each[origin]:
                del self._each[origin]
        await self._due(later)

    async def _judge(self, room: Room, origin: str, stuck: Sequence[Stuck]) -> None:
        verdicts = await self.gaps.close(room, origin, [one.arrival for one in stuck])
        judged, waiting = [], []
        for one in stuck:
            verdict = verdicts[one.row.event_id]
            if isinstance(verdict, Waiting):
                waiting.append(Stuck(one.row, one.arrival, verdict))
            else:
                judged.append((one.row, verdict))
        await self.ledger.finish(room, judged)
        self._want(waiting)
        await self.ledger.fail(
            room, [one.row for one in waiting], "events that it points at could not be had"
        )
        await self._recheck(waiting)
        await self.heard(row.event_id for row, _ in judged)

    async def _give_back(self, room: Room, rows: Sequence[WaitingPdu]) -> None:
        try:
            await self.ledger.fail(room, rows, "a fault of this server")
        except TEMPORARY as fault:
            log.warning("rows of a gap not given back", room_id=room.room_id, cause=repr(fault))

    async def _due(self, pdu_nids: Sequence[int]) -> None:
        try:
            await self.ledger.make_due(pdu_nids)
        except TEMPORARY as fault:
            log.warning("rows behind a gap stay put off", cause=repr(fault))


def missing_in_front(stuck: Iterable[Stuck]) -> set[str]:
    """What these wait for, each other left aside."""
    ones = list(stuck)
    wanted = {event_id for one in ones for event_id in one.waiting.prev_events | one.waiting.auth_events}
    return wanted - {one.row.event_id for one in ones}
