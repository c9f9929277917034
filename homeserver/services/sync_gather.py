"""One sync answer from the database: everything of one moment, a handful of statements, none of them a room's.

The moment is the clock as the snapshot sees it. Which kinds of things are looked for is told by the notifier's marks,
unless the token is older than they are, or the snapshot newer.
"""

from collections.abc import Collection, Sequence
from typing import Any

from attrs import evolve, frozen

from homeserver.core.push.counts import Unread
from homeserver.core.sync_view import keeps_type
from homeserver.core.tokens import SyncToken
from homeserver.services.notifier import Notifier
from homeserver.services.peeked_rooms import NO_PEEKS, Peeked, PeekedRooms
from homeserver.services.peeking import PeekEnds
from homeserver.services.room_parts import JOIN, RoomPart, room_parts
from homeserver.services.sync_devices import SyncDevices
from homeserver.services.sync_passing import Span, SyncPassing, inbox_events
from homeserver.services.sync_request import SyncRequest
from homeserver.services.sync_sections import Passing, RoomSections, invite_sections
from homeserver.services.sync_states import SyncStates
from homeserver.services.sync_timelines import SyncTimelines
from homeserver.services.unwanted import wishes
from storage import receipts, user_news
from storage.committer import Kind
from storage.database import Connection, Database
from storage.streams import current_position
from storage.user_news import Message, UserRoom

INBOX_LIMIT = 100  # to-device messages of one answer; the token then says where to go on


@frozen
class Gathered:
    """An answer but for the counts of keys, and the token after it.

    `empty`: there is nothing in it that is worth waking a client for. `inbox` is the position of the last to-device
    message in it. `peeks`: those that are over.
    """

    token: SyncToken
    answer: dict[str, Any]
    empty: bool
    inbox: int | None = None
    peeks: PeekEnds | None = None


@frozen
class Rooms:
    """What concerns rooms: those the user is in, and the parts of the answer."""

    now: int
    joined: list[int]
    rows: Sequence[UserRoom] = ()
    parts: Sequence[RoomPart] = ()

    @property
    def anew(self) -> frozenset[int]:
        """The joined rooms that the client knows nothing of."""
        return frozenset(part.room_nid for part in self.parts if part.anew and part.joined)


@frozen
class Told:
    """The rooms of the answer, written out, and what else was learned on the way."""

    sections: dict[str, Any]
    account_data: list[Any]
    peeks: PeekEnds | None


@frozen
class SyncGather:
    """Gathers answers."""

    database: Database
    notifier: Notifier
    timelines: SyncTimelines
    states: SyncStates
    passing: SyncPassing
    sections: RoomSections

    async def gather(self, request: SyncRequest) -> Gathered:
        """Everything that is new for the client."""
        async with self.database.read(snapshot=True) as conn:
            now = await current_position(conn)
            if request.position > now:  # from before the database was restored to an earlier time
                request = evolve(request, since=None)
            kinds = self._kinds(request, now)
            if Kind.ACCOUNT_DATA in kinds or request.user.ignored is None:
                request.user.ignored, request.user.invite_rules = await wishes(conn, request.user.user_nid)
            rooms = await self._rooms(conn, request, kinds, now)
            return await self._answer(conn, request, rooms, kinds, now)

    def _kinds(self, request: SyncRequest, now: int) -> set[Kind]:
        """What has to be looked for."""
        if request.since is None or request.style.full_state:
            return set(Kind)
        return self.notifier.kinds_since(request.user, request.position, now)

    async def _rooms(self, conn: Connection, request: SyncRequest, kinds: set[Kind], now: int) -> Rooms:
        if Kind.EVENTS not in kinds:
            return Rooms(now, list(request.user.rooms))
        left = request.view.include_leave
        rows = await user_news.rooms(conn, request.user.user_nid, request.position, left=left)
        parts = await room_parts(conn, self.timelines.reader, request, rows, now)
        return Rooms(now, [row.room_nid for row in rows if row.membership == JOIN], rows, parts)

    async def _answer(
        self, conn: Connection, request: SyncRequest, rooms: Rooms, kinds: set[Kind], now: int
    ) -> Gathered:
        told = await self._told_rooms(conn, request, rooms, kinds)
        span = Span(request.position, rooms.joined, rooms.anew)
        devices = SyncDevices(self.timelines.reader, self.sections.state_keys)
        moved = await devices.movements(conn, request, rooms.parts)
        events = await self.passing.presence(
            conn, request, span, changed=Kind.PRESENCE in kinds, came=moved.came
        )
        lists = await devices.lists(conn, request, rooms.joined, moved, changed=Kind.DEVICE_LISTS in kinds)
        messages = await self._inbox(conn, request, kinds)
        last = messages[-1].position if messages else None
        token = SyncToken(now, last if len(messages) >= INBOX_LIMIT else None)
        found = {
            "rooms": told.sections,
            "account_data": {"events": told.account_data} if told.account_data else {},
            "presence": {"events": events} if events else {},
            "to_device": {"events": inbox_events(messages)} if messages else {},
            "device_lists": lists,
        }
        news = {name: value for name, value in found.items() if value}
        return Gathered(token, {"next_batch": str(token), **news}, not news, last, told.peeks)

    async def _told_rooms(
        self, conn: Connection, request: SyncRequest, rooms: Rooms, kinds: set[Kind]
    ) -> Told:
        passing = await self._passing(conn, request, rooms, kinds)
        passing = evolve(passing, unread=await self._unread(conn, request, rooms, passing))
        memberships = await self.timelines.fill(conn, request, rooms.parts)
        heroes = await self.sections.heroes(conn, request, rooms.parts)
        await self.states.fill(conn, request, rooms.parts, heroes)
        beside = await self.sections.beside(conn, request, rooms.parts, memberships)
        summaries = await self.sections.summaries(conn, rooms.parts, heroes)
        join, leave = self.sections.written(request, rooms.parts, beside, summaries, passing)
        others = await self._others(conn, request, rooms, passing)
        join |= self.sections.quiet(request, others, passing)
        invite, knock = invite_sections(rooms.rows, request.position, request.user)
        peeked = await self._peeked(conn, request, rooms.now)
        leave = peeked.leave_beside(invite, knock) | leave
        sections = {"join": join, "peek": peeked.peek, "invite": invite, "knock": knock, "leave": leave}
        return Told(
            {name: value for name, value in sections.items() if value},
            passing.account_data.get(0, []),
            peeked.ends,
        )

    async def _peeked(self, conn: Connection, request: SyncRequest, now: int) -> Peeked:
        if request.peeker is None or request.device_nid is None:
            return NO_PEEKS
        rooms = PeekedRooms(self.timelines, self.states, self.sections)
        return await rooms.told(conn, request, request.device_nid, now)

    async def _passing(
        self, conn: Connection, request: SyncRequest, rooms: Rooms, kinds: set[Kind]
    ) -> Passing:
        span = Span(request.position, rooms.joined, rooms.anew)
        ephemeral = await self.passing.ephemeral(conn, request, span, kinds)
        account_data: dict[int, list[Any]] = {}
        if Kind.ACCOUNT_DATA in kinds or rooms.anew:
            account_data = await self.passing.account_data(conn, request, rooms.anew)
        read: Collection[int] = ()
        if Kind.RECEIPTS in kinds and not keeps_type(request.view.room.ephemeral, "m.receipt"):
            read = await receipts.read_since(conn, request.user.user_nid, span.rooms)
        return Passing(ephemeral, account_data, read=frozenset(read))

    async def _unread(
        self, conn: Connection, request: SyncRequest, rooms: Rooms, passing: Passing
    ) -> dict[int, Unread]:
        """The counts of the joined rooms that the answer may tell of."""
        told = {part.room_nid for part in rooms.parts if part.joined} | passing.rooms()
        return await self.sections.counts.of(conn, request.user, told & set(rooms.joined), rooms.now)

    async def _others(
        self, conn: Connection, request: SyncRequest, rooms: Rooms, passing: Passing
    ) -> dict[int, str]:
        """The ids of joined rooms without a part in which something passes by."""
        nids = (passing.rooms() & set(rooms.joined)) - {part.room_nid for part in rooms.parts}
        found = await self.timelines.reader.rooms.by_nids(conn, nids) if nids else {}
        keep = request.view.room.rooms
        return {nid: room.room_id for nid, room in found.items() if keep is None or keep(room.room_id)}

    async def _inbox(self, conn: Connection, request: SyncRequest, kinds: set[Kind]) -> list[Message]:
        """The device's next to-device messages, from where it has them."""
        seen = request.since.seen_inbox if request.since is not None else 0
        lagging = request.since is not None and request.since.inbox is not None
        if request.device_nid is None or not (lagging or Kind.TO_DEVICE in kinds):
            return []
        return await user_news.inbox(conn, request.device_nid, seen, INBOX_LIMIT)
