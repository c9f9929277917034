"""Unread counts for sync: counted in the database, and gone on with in memory while nothing but events happens.

A count in memory is as of a position. Events after it are added by what they were written with, which commits tell;
where anything else may have happened in the room (a receipt, a redaction, another process), it is counted anew.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence

from attrs import define, field, frozen

from homeserver.core.push.counts import Count, Unread
from homeserver.core.push.evaluate import MARKS
from homeserver.services.notifier import ActiveUser, Notifier
from homeserver.services.tails import Tails
from storage import notifications
from storage.committer import Committed, Kind
from storage.database import Connection
from storage.events import StoredEvent
from storage.room_batches import NoticeRow
from storage.state_keys import StateKeys, user_key

MAX_EVENTS = 10_000
MAX_COUNTS = 200_000
_SILENT: tuple[NoticeRow, ...] = ()


@frozen
class Known:
    """What was unread as of a position."""

    position: int
    unread: Unread


@define(eq=False)
class NotificationCounts:
    """Counts what is unread. `marked`: also what does not notify [MSC2625]."""

    notifier: Notifier
    tails: Tails
    state_keys: StateKeys
    marked: bool = False
    _notices: OrderedDict[int, tuple[NoticeRow, ...]] = field(factory=OrderedDict)  # by event
    _counts: OrderedDict[tuple[int, int], Known] = field(factory=OrderedDict)  # by user and room

    def heard(self, position: int, commits: Sequence[Committed]) -> None:
        """To be called after each turn of the committer, in commit order."""
        for commit in commits:
            if commit.batch is None:
                continue
            events, notices = commit.batch.events, commit.batch.notices
            if len(events) == 1:
                self._notices[events[0].event_nid] = notices
                continue
            for index, row in enumerate(events):
                rows = tuple(notice for notice in notices if notice.event_index == index)
                self._notices[row.event_nid] = rows or _SILENT
        while len(self._notices) > MAX_EVENTS:
            self._notices.popitem(last=False)

    async def of(
        self, conn: Connection, user: ActiveUser, room_nids: Collection[int], now: int
    ) -> dict[int, Unread]:
        """What is unread in joined rooms, as of the snapshot that `conn` sees."""
        if not room_nids:
            return {}
        found = await self.count(conn, user.user_nid, room_nids, user.ignored or frozenset())
        for room_nid, unread in found.items():
            self._keep((user.user_nid, room_nid), Known(now, unread))
        return found

    async def count(
        self, conn: Connection, user_nid: int, room_nids: Collection[int], ignored: Collection[str]
    ) -> dict[int, Unread]:
        """The same, for whoever has no active user at hand."""
        keys = await self.state_keys.find(conn, map(user_key, ignored)) if ignored else {}
        found = {room_nid: Unread(marked=self.marked) for room_nid in room_nids}
        for row in await notifications.unread(conn, user_nid, room_nids, list(keys.values())):
            if row.notifications or self.marked:
                count = Count(row.notifications, row.highlights, row.unread)
                found[row.room_nid].threads[row.thread_id] = count
        return found

    def quick(self, user: ActiveUser, room_nid: int) -> Unread | None:
        """What is unread as of all that this process has seen; None where that takes more than memory."""
        key = (user.user_nid, room_nid)
        known = self._counts.get(key)
        if known is None or self._may_be_read(user, room_nid, known.position):
            return None
        events = self.tails.since(room_nid, known.position)
        if events is None:
            return None
        unread = known.unread if not events else known.unread.copy()
        for stored in events:
            if not self._add(unread, user, stored):
                return None
        self._keep(key, Known(max(known.position, self.notifier.position), unread))
        return unread

    def _may_be_read(self, user: ActiveUser, room_nid: int, position: int) -> bool:
        room, own = self.notifier.room_marks(room_nid).last, user.marks.last
        return max(room.get(Kind.RECEIPTS, 0), own.get(Kind.RECEIPTS, 0)) > position

    def _add(self, unread: Unread, user: ActiveUser, stored: StoredEvent) -> bool:
        """Go on with one event; False where it takes the database."""
        event = stored.event
        notices = self._notices.get(stored.nid)
        sender = self.state_keys.known(user_key(event.sender))
        if notices is None or sender is None or event.type == "m.room.redaction":
            return False
        if sender == user.user_nid and notices:
            unread.read(notices[0].thread_id)
            return True
        if sender == user.user_nid:
            return True
        if user.ignored and event.sender in user.ignored:
            return True
        for notice in notices:
            if notice.everybody != (user.user_nid in notice.user_nids):
                notifies = notice.actions != MARKS
                unread.add(notice.thread_id, highlight=notice.highlight, notifies=notifies)
        return True

    def _keep(self, key: tuple[int, int], known: Known) -> None:
        self._counts[key] = known
        self._counts.move_to_end(key)
        while len(self._counts) > MAX_COUNTS:
            self._counts.popitem(last=False)
