"""Which rooms a request is about: those in the windows of its lists, and those it subscribes to [MSC4186]."""

from collections.abc import Collection, Container, Iterable, Mapping
from itertools import islice

from attrs import define, field, frozen

from homeserver.core.sliding_extensions import Scope
from homeserver.core.sliding_request import ListWish, RoomWish, SlidingQuery
from homeserver.services.sliding.room_list import GONE, INVITE, JOIN, KNOCK, RoomList

NO_ROOMS: frozenset[int] = frozenset()


@frozen
class Window:
    """A list's part of the answer: how many rooms it has, and those in its ranges."""

    count: int
    rooms: Collection[int]


@define(eq=False)
class Selected:
    """The rooms of a request, and how much of each is wanted; of those in `widened` it may be more than before."""

    query: SlidingQuery
    windows: Mapping[str, Window]
    subscribed: Mapping[int, RoomWish]
    widened: Collection[int] = ()
    rooms: frozenset[int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.rooms = frozenset().union(self.subscribed, *(window.rooms for window in self.windows.values()))

    @property
    def counts(self) -> dict[str, int]:
        """How many rooms each list has."""
        return {name: window.count for name, window in self.windows.items()}

    def lists_of(self, room_nid: int) -> list[str]:
        """The lists in whose windows a room stands."""
        return [name for name, window in self.windows.items() if room_nid in window.rooms]

    def wish_of(self, room_nid: int) -> RoomWish:
        """What all that a room matches wants of it."""
        return combined(self.query, self.lists_of(room_nid), self.subscribed.get(room_nid))

    def within(self, scope: Scope, room_list: RoomList) -> frozenset[int]:
        """The rooms of lists and subscriptions that an extension is for."""
        names = self.windows if scope.lists is None else scope.lists & self.windows.keys()
        rooms = set(self.subscribed)
        if scope.rooms is not None:
            rooms &= {room_list.nids[name] for name in scope.rooms if name in room_list.nids}
        return frozenset(rooms.union(*(self.windows[name].rooms for name in names)))


def combined(query: SlidingQuery, lists: Iterable[str], subscribed: RoomWish | None) -> RoomWish:
    """What these lists and a subscription want of a room."""
    wish = subscribed or RoomWish()
    for name in lists:
        wish = wish.joined_with(query.lists[name].room)
    return wish


def select(
    room_list: RoomList, query: SlidingQuery, sent: Container[int], unwanted: Collection[int]
) -> Selected:
    """Find the rooms. `sent`: those that the client knows, `unwanted`: such whose invitations are not shown."""
    listed = listed_rooms(room_list, sent, unwanted)
    windows = {name: _window(room_list, wish, listed) for name, wish in query.lists.items()}
    subscribed = {
        room_list.nids[name]: wish for name, wish in query.subscriptions.items() if name in room_list.nids
    }
    return Selected(query, windows, {nid: wish for nid, wish in subscribed.items() if nid in listed})


def listed_rooms(room_list: RoomList, sent: Container[int], unwanted: Collection[int]) -> set[int]:
    """The rooms that may be told: those that were left only if the client knows them [MSC4186 "Lists"]."""
    listed = room_list.with_membership(JOIN, INVITE, KNOCK) | room_list.ended
    listed |= {nid for nid in room_list.with_membership(*GONE) if nid in sent}
    return listed.difference(nid for nid in unwanted if nid not in sent)


def _window(room_list: RoomList, wish: ListWish, listed: set[int]) -> Window:
    rooms = room_list.passing(wish.filter, listed)
    if wish.ranges is None:
        return Window(len(rooms), rooms)
    found: set[int] = set()
    for start, end in wish.ranges:
        if start == 0 and end >= len(rooms) - 1:
            return Window(len(rooms), rooms)
        if start < len(rooms):
            ordered = (nid for nid in room_list.newest() if nid in rooms)
            found.update(islice(ordered, start, end + 1))
    return Window(len(rooms), found)
