"""One room on its way into an answer of sliding sync: what the client has of it, and what was found to be told."""

from attrs import define, field

from homeserver.core.event import StateKey
from homeserver.core.sliding_request import RoomWish
from homeserver.core.sliding_state import MEMBER, StateWish
from homeserver.services.room_parts import RoomPart
from storage.events import StoredEvent
from storage.sync_connections import SentRoom
from storage.timelines import BEGINNING

EVERYTHING = 2**31 - 1  # the client has all events that it may see
MAX_MEMBERS = 500  # whom we remember to have told of

NAME, AVATAR = ("m.room.name", ""), ("m.room.avatar", "")


@define(eq=False)
class Telling:
    """A room whose timeline the user may see. `old`: whose state the client has, where that is known."""

    part: RoomPart
    wish: RoomWish
    before: SentRoom | None
    old: StateWish | None
    initial: bool = field(init=False)
    expanded: bool = field(init=False, default=False)
    delta: dict[int, int | None] = field(factory=dict)  # key_nid -> event_nid: what changed since
    whole: dict[int, int | None] = field(factory=dict)  # the same of the whole state, as far as it was read
    told: dict[int, StoredEvent] = field(factory=dict)
    gone: list[StateKey] = field(factory=list)
    members: frozenset[int] = frozenset()  # told in the end, because they speak
    withheld: bool = False  # the client's older wish would have told more
    standing: dict[int, int] = field(factory=dict)  # name and avatar, where they may have been redacted
    named: dict[StateKey, StoredEvent | None] = field(factory=dict)  # name and avatar, where they are news
    members_changed: bool = False
    people: frozenset[int] = frozenset()  # who came, or has to be shown for the first time

    def __attrs_post_init__(self) -> None:
        self.initial = self.part.anew
        if not self.part.joined and self.part.left_sp is not None:
            self.part.high_sp = max(self.part.low_sp, self.part.left_sp)  # later state is not for the user
        if not self.initial and self.part.joined and self.before is not None:
            self.expanded = self.before.have < self.wish.limit
        if self.expanded:
            # The timeline begins anew, so what of it may be seen is asked like for a client that knows nothing.
            self.part.after, self.part.anew = BEGINNING, True

    @property
    def room_nid(self) -> int:
        """The room's number."""
        return self.part.room_nid

    @property
    def from_start(self) -> bool:
        """Does the timeline tell the latest events, whether they are new or not?"""
        return self.initial or self.expanded

    @property
    def widened(self) -> bool:
        """Is state wanted that the client has not been told, though it knows the room?"""
        if self.initial or self.before is None or self.wish.state.digest == self.before.wish:
            return False
        return self.old is None or not self.wish.state.parts <= self.old.parts

    @property
    def ended_by(self) -> StoredEvent | None:
        """The event by which the user is not in the room, where that is news."""
        part = self.part
        return part.own if not part.joined and (self.initial or part.upto > part.after) else None

    @property
    def may_be_redacted(self) -> bool:
        """May state have lost its content though it did not change?"""
        part = self.part
        redactions = any(event.event.type == "m.room.redaction" for event in part.events)
        return not self.initial and part.joined and (redactions or part.limited or part.dropped)

    def wants(self, key: StateKey) -> bool:
        """Is a change of this key told?"""
        if self.wish.state.wants(*key):
            return True
        return key[0] == MEMBER and self.wish.state.lazy_members and not self.part.limited

    def wants_anyway(self, key: StateKey) -> bool:
        """Is this key told though it did not change?"""
        if not self.wish.state.wants(*key):
            return False
        return self.initial or self.old is None or not self.old.wants(*key)

    @property
    def known_members(self) -> frozenset[int]:
        """Who need not be told again: in a gap the client forgets them [MSC4186 "Lazy loaded memberships"]."""
        return (
            frozenset() if self.initial or self.part.limited or self.before is None else self.before.members
        )

    def sent(self, *, dm: bool) -> SentRoom:
        """What the client has after the answer."""
        part, before, state = self.part, self.before, self.wish.state
        if self.from_start or before is None:
            have = self.wish.limit if part.limited else EVERYTHING
        else:
            have = min(before.have, self.wish.limit) if part.limited else before.have
        keeps_wish = not (self.initial or before is None or self.widened or self.withheld)
        members = self.members if len(self.members) <= MAX_MEMBERS else frozenset[int]()
        wish = before.wish if keeps_wish and before is not None else state.digest
        profiles = 0 if self.initial or before is None else before.profiles
        return SentRoom(None, have, wish, dm, stub=False, members=members, profiles=profiles)
