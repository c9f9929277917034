"""What the extensions of a sliding sync answer are asked about."""

from collections.abc import Iterable, Mapping

from attrs import frozen

from homeserver.core.sliding_extensions import Scope
from homeserver.services.sliding.room_list import JOIN, RoomList
from homeserver.services.sliding.rooms import ToldRooms
from homeserver.services.sliding.windows import Selected
from storage.committer import Kind
from storage.sync_connections import SentRoom


@frozen
class Moment:
    """The rooms that the client knows, what it is told of them, and which kinds may be new up to `now`."""

    selected: Selected
    room_list: RoomList
    known: Mapping[int, SentRoom]
    told: ToldRooms
    kinds: set[Kind]
    now: int

    def sent(self, room_nid: int) -> SentRoom | None:
        """What the client has of a room after the answer."""
        return self.told.sent.get(room_nid) or self.known.get(room_nid)


def within(nids: Iterable[int], moment: Moment, scope: Scope) -> frozenset[int]:
    """Those of the rooms that an extension is for."""
    if scope.everywhere:
        return frozenset(nids)
    return frozenset(nids) & moment.selected.within(scope, moment.room_list)


def joined(nids: frozenset[int], moment: Moment) -> frozenset[int]:
    """Those of the rooms that the user is in."""
    return nids & moment.room_list.with_membership(JOIN)
