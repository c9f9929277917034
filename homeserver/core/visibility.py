"""Which events of a room a user may see [cs "Room history visibility"].

What counts is the state at the event. Over one room, a user's membership and the history visibility are two short
lists of (position, value), so a page of timeline needs these two and no state for each event.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from attrs import field, frozen

from homeserver.core.event import Event

WORLD_READABLE, SHARED, INVITED, JOINED = "world_readable", "shared", "invited", "joined"
_UNDERSTOOD = frozenset((WORLD_READABLE, SHARED, INVITED, JOINED))


def may_see(visibility: object, membership: object, *, joined_later: bool) -> bool:
    """Rules 1 to 5, for one state [cs "Room history visibility" "Server behaviour"].

    `visibility` and `membership` are what the events say, None where there is none. `joined_later`: did the user
    join at any point after the event?
    """
    visibility = understood(visibility)
    if visibility == WORLD_READABLE or membership == "join":
        return True
    if visibility == SHARED:
        return joined_later
    return visibility == INVITED and membership == "invite"


def understood(visibility: object) -> str:
    """`shared` where there is none or it is not understood."""
    return visibility if isinstance(visibility, str) and visibility in _UNDERSTOOD else SHARED


@frozen
class Facts:
    """Two values that an event lies between: equal, but for the event that changes them."""

    before: object
    after: object


def may_see_event(visibility: Facts, membership: Facts, *, joined_later: bool) -> bool:
    """May the user see an event that changes the visibility or the user's own membership, or neither?

    Such an event is seen if what was before *or* after it allows it. A user whose own membership event it is and who
    joins by it is allowed as joined; that is not "later".
    """
    return any(
        may_see(one, other, joined_later=joined_later)
        for one in (visibility.before, visibility.after)
        for other in (membership.before, membership.after)
    )


@frozen
class Timeline:
    """A value over the positions of a room, as changes in ascending order: each holds from its position on.

    The first change may stand before all positions of interest (the value at the start of a page).
    """

    positions: Sequence[int]
    values: Sequence[object]

    def at(self, position: int) -> object:
        """The value in the state at `position`; None where there is none yet."""
        index = bisect_right(self.positions, position)
        return self.values[index - 1] if index else None

    def last_position_of(self, value: object) -> int | None:
        """Where the value was last taken on."""
        pairs = zip(self.positions, self.values, strict=True)
        return max((position for position, one in pairs if one == value), default=None)


@frozen
class Seen:
    """An event of a page. `position`: of the main line in the state *before* the event.

    `visibility` and `membership` are given for events on a fork, where the state before them differs from the main
    line in these keys; a tuple of one value, which may be None.
    """

    event: Event
    position: int
    visibility: tuple[object] | None = None
    membership: tuple[object] | None = None


@frozen
class Viewer:
    """One user's view of one room."""

    user_id: str
    memberships: Timeline
    visibilities: Timeline
    _last_join: int | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_last_join", self.memberships.last_position_of("join"))

    def sees(self, seen: Seen) -> bool:
        """May the user see this event?"""
        later = self._last_join is not None and self._last_join > seen.position
        return may_see_event(self._visibility(seen), self._membership(seen), joined_later=later)

    def visible(self, page: Iterable[Seen]) -> list[Event]:
        """The events of a page that the user may see."""
        return [seen.event for seen in page if self.sees(seen)]

    def _visibility(self, seen: Seen) -> Facts:
        before = seen.visibility[0] if seen.visibility else self.visibilities.at(seen.position)
        changes = seen.event.is_state and seen.event.key == ("m.room.history_visibility", "")
        return Facts(before, seen.event.content.get("history_visibility") if changes else before)

    def _membership(self, seen: Seen) -> Facts:
        before = seen.membership[0] if seen.membership else self.memberships.at(seen.position)
        changes = seen.event.is_state and seen.event.key == ("m.room.member", self.user_id)
        return Facts(before, seen.event.membership if changes else before)
