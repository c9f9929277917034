"""One answer of sliding sync from the database: which rooms have something to say, and what.

A room is told when it matches and the client lacks something of it. A room that does not match and in which something
happens *lags* from then on: the connection remembers up to where it was told.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from attrs import define, evolve, field, frozen

from homeserver.core.sliding_request import RoomWish, SlidingQuery
from homeserver.core.tokens import SyncToken
from homeserver.services.notifier import Notifier
from homeserver.services.sliding.connections import (
    Settled,
    SyncConnection,
    SyncConnections,
    settled_by,
    unknown_pos,
)
from homeserver.services.sliding.extensions import SlidingExtensions
from homeserver.services.sliding.moment import Moment
from homeserver.services.sliding.room_list import JOIN, RoomList
from homeserver.services.sliding.room_lists import RoomLists
from homeserver.services.sliding.rooms import SlidingRooms, Todo
from homeserver.services.sliding.windows import Selected, select
from homeserver.services.sync_request import SyncRequest
from homeserver.services.sync_sections import is_wanted
from homeserver.services.unwanted import wishes
from storage import receipts
from storage.committer import Kind
from storage.database import Connection, Database
from storage.streams import current_position
from storage.sync_connections import SentRoom

NOTHING = SentRoom(None, 0, 0)
MAX_TOLD = 400  # rooms of one answer; the others come with the next


@define(eq=False)
class Sent(Mapping[int, SentRoom]):
    """What the client has: as confirmed, and as changed since by the request that is being answered."""

    base: Mapping[int, SentRoom]
    over: dict[int, SentRoom] = field(factory=dict)

    def __getitem__(self, nid: int) -> SentRoom:
        return self.over[nid] if nid in self.over else self.base[nid]

    def __contains__(self, nid: object) -> bool:
        return nid in self.base or nid in self.over

    def __len__(self) -> int:
        return len(self.base.keys() | self.over.keys())

    def __iter__(self) -> Iterator[int]:
        return iter(self.base.keys() | self.over.keys())

    def lacking(self, nids: Collection[int]) -> set[int]:
        """Those of the rooms that it does not know."""
        return set(nids) - self.base.keys() - self.over.keys()


@define(eq=False)
class Round:
    """One look at what is new for a request: `position` is up to where the connection stands.

    `settled`: what there was nothing more to say about at this position, if that is known.
    """

    connection: SyncConnection
    query: SlidingQuery
    request: SyncRequest
    sent: Sent
    settled: Settled | None = None

    @property
    def position(self) -> int:
        """Up to where rooms that do not lag have been told."""
        return self.request.position


@frozen
class Gathered:
    """What there is to say as of `now`. `settled`: about what nothing is left to say after it, if `complete`."""

    now: int
    rooms: Mapping[str, dict[str, Any]]
    extensions: dict[str, Any]
    settled: Settled
    complete: bool = True
    inbox: int | None = None
    empty: bool = False


@frozen
class SlidingGather:
    """Gathers answers."""

    database: Database
    notifier: Notifier
    connections: SyncConnections
    lists: RoomLists
    rooms: SlidingRooms
    extensions: SlidingExtensions

    async def gather(self, asked: Round) -> Gathered:
        """Everything that is new for the client. Raises M_UNKNOWN_POS for a position that is yet to come."""
        request, user = asked.request, asked.request.user
        async with self.database.read(snapshot=True) as conn:
            now = await current_position(conn)
            if asked.position > now:  # the database was restored to an earlier time
                raise unknown_pos()
            began = request.since is None
            kinds = set(Kind) if began else self.notifier.kinds_since(user, asked.position, now)
            if Kind.ACCOUNT_DATA in kinds or user.ignored is None:
                user.ignored, user.invite_rules = await wishes(conn, user.user_nid)
            room_list = await self.lists.current(conn, user, now, asked.query.lists)
            unwanted = [nid for nid, sender in room_list.inviters.items() if not is_wanted(sender, user)]
            selected = select(room_list, asked.query, asked.sent, unwanted)
            selected.widened = _maybe_widened(asked, selected)
            read = await self._read_on(conn, asked, room_list, kinds)
            found = _news(asked, selected, room_list, self.connections) | (read & selected.rooms)
            ordered = sorted(found, key=lambda nid: room_list.order.get(nid, 0), reverse=True)
            put_off = ordered[MAX_TOLD:]
            _lag(asked, room_list, {*put_off, *_passed_by(asked, selected, room_list)})
            todo = Todo(selected, room_list, asked.sent, ordered[:MAX_TOLD], read, self.connections.wish)
            told = await self.rooms.tell(conn, request, todo, now)
            moment = Moment(selected, room_list, asked.sent, told, kinds, now)
            extra = await self.extensions.gather(conn, request, moment)
        asked.sent.over |= told.sent
        for nid, digest in extra.profiled.items():
            asked.sent.over[nid] = evolve(asked.sent.get(nid, NOTHING), profiles=digest)
        self._remember(selected, told.sent)
        empty, complete = not told.rooms and extra.empty, not put_off and extra.complete
        settled = settled_by(asked.connection.base, selected)
        return Gathered(now, told.rooms, extra.answer, settled, complete, extra.inbox, empty)

    async def _read_on(
        self, conn: Connection, asked: Round, room_list: RoomList, kinds: set[Kind]
    ) -> frozenset[int]:
        """The joined rooms in which the user's own receipts have moved: their counts are news."""
        if Kind.RECEIPTS not in kinds or not asked.query.counted or not asked.position:
            return frozenset()
        rooms = [(nid, asked.position) for nid in room_list.with_membership(JOIN) if nid in asked.sent]
        return frozenset(await receipts.read_since(conn, asked.request.user.user_nid, rooms))

    def _remember(self, selected: Selected, told: Iterable[int]) -> None:
        for nid in told:
            self.connections.remember(selected.wish_of(nid).state)


def _news(asked: Round, selected: Selected, room_list: RoomList, connections: SyncConnections) -> set[int]:
    """The matching rooms of which the client lacks something."""
    sent, found = asked.sent, asked.sent.lacking(selected.rooms)
    if asked.position:
        found |= {nid for nid in room_list.active_since(asked.position) if nid in selected.rooms}
    lagging = {nid for nid in asked.connection.lagging | sent.over.keys() if nid in selected.rooms}
    found |= {nid for nid in lagging if _is_behind(sent.get(nid), room_list.order.get(nid, 0))}
    found |= {nid for nid in selected.widened if _lacks(sent.get(nid), selected, nid, connections)}
    if room_list.direct_since > asked.position:
        direct = room_list.direct_nids()
        found |= {nid for nid in selected.rooms if (room := sent.get(nid)) and room.dm != (nid in direct)}
    return found


def _is_behind(sent: SentRoom | None, activity: int) -> bool:
    return sent is not None and sent.told is not None and sent.told < activity


def _maybe_widened(asked: Round, selected: Selected) -> set[int]:
    """The rooms of which more may be wanted than last time."""
    settled = asked.connection.settled
    if settled is None or settled.ordinal != asked.connection.base:
        return set(selected.rooms)
    if settled.query.extensions.profiles != selected.query.extensions.profiles:
        return set(selected.rooms)
    before = settled.query.lists
    found = {nid for nid, wish in selected.subscribed.items() if settled.subscribed.get(nid) != wish}
    for name, window in selected.windows.items():
        same = name in before and before[name].room == asked.query.lists[name].room
        found |= set(window.rooms).difference(settled.windows[name] if same else ())
    return found


def _lacks(sent: SentRoom | None, selected: Selected, nid: int, connections: SyncConnections) -> bool:
    """Is more wanted of a known room than the client has?"""
    if sent is None or sent.stub:
        return False
    wish: RoomWish = selected.wish_of(nid)
    if sent.have < wish.limit:
        return True
    if sent.wish == wish.state.digest:
        return False
    old = connections.wish(sent.wish)
    return old is None or not wish.state.parts <= old.parts


def _passed_by(asked: Round, selected: Selected, room_list: RoomList) -> Iterable[int]:
    """Known rooms in which something happened, but which do not match."""
    if not asked.position:
        return ()
    active = room_list.active_since(asked.position)
    return [nid for nid in active if nid not in selected.rooms and nid in asked.sent]


def _lag(asked: Round, room_list: RoomList, nids: Iterable[int]) -> None:
    """From here on these rooms are told from where they were told last."""
    for nid in nids:
        room = asked.sent.get(nid)
        if room is not None and room.told is None and room_list.order.get(nid, 0) > asked.position:
            asked.sent.over[nid] = evolve(room, told=asked.position)


def at_position(request: SyncRequest, position: int) -> SyncRequest:
    """The same request of a client that knows more by now."""
    return evolve(request, since=SyncToken(position))
