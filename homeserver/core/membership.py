"""Which changes of membership exist, and what each is called [cs "m.room.member"]."""

from enum import Enum

INVITE, JOIN, LEAVE, BAN, KNOCK = "invite", "join", "leave", "ban", "knock"
MEMBERSHIPS = frozenset((INVITE, JOIN, LEAVE, BAN, KNOCK))


class Transition(Enum):
    """What a membership event did, seen from the user whose membership it is."""

    NO_CHANGE = "no change"
    INVITED = "invited"
    KNOCK_ACCEPTED = "knock accepted"  # an invitation too
    JOINED = "joined"
    PROFILE_CHANGED = "profile changed"
    LEFT = "left"
    KICKED = "kicked"
    INVITE_REJECTED = "invite rejected"  # by the invited
    INVITE_REVOKED = "invite revoked"  # by others
    UNBANNED = "unbanned"
    KNOCKED = "knocked"
    KNOCK_RETRACTED = "knock retracted"  # by the knocking
    KNOCK_DENIED = "knock denied"  # by others
    BANNED = "banned"
    IMPOSSIBLE = "must never happen"

    @property
    def is_leave(self) -> bool:
        """Did the user's part in the room, or the prospect of one, end without a ban?"""
        return self in _LEAVES

    @property
    def by_others(self) -> bool:
        """Did somebody else end it?"""
        return self in (
            Transition.KICKED,
            Transition.INVITE_REVOKED,
            Transition.KNOCK_DENIED,
            Transition.BANNED,
            Transition.UNBANNED,
        )


_LEAVES = frozenset(
    (
        Transition.LEFT,
        Transition.KICKED,
        Transition.INVITE_REJECTED,
        Transition.INVITE_REVOKED,
        Transition.KNOCK_RETRACTED,
        Transition.KNOCK_DENIED,
    )
)

_TO_LEAVE = {  # from: (by the user, by somebody else)
    INVITE: (Transition.INVITE_REJECTED, Transition.INVITE_REVOKED),
    JOIN: (Transition.LEFT, Transition.KICKED),
    LEAVE: (Transition.NO_CHANGE, Transition.NO_CHANGE),
    BAN: (Transition.UNBANNED, Transition.UNBANNED),
    KNOCK: (Transition.KNOCK_RETRACTED, Transition.KNOCK_DENIED),
}
_OTHERS = {
    (INVITE, INVITE): Transition.NO_CHANGE,
    (JOIN, INVITE): Transition.IMPOSSIBLE,
    (LEAVE, INVITE): Transition.INVITED,
    (BAN, INVITE): Transition.IMPOSSIBLE,
    (KNOCK, INVITE): Transition.KNOCK_ACCEPTED,
    (INVITE, JOIN): Transition.JOINED,
    (JOIN, JOIN): Transition.PROFILE_CHANGED,
    (LEAVE, JOIN): Transition.JOINED,
    (BAN, JOIN): Transition.IMPOSSIBLE,
    (
        KNOCK,
        JOIN,
    ): Transition.JOINED,  # the table's "never" is not so where the join rule became public meanwhile
    (INVITE, KNOCK): Transition.KNOCKED,
    (JOIN, KNOCK): Transition.IMPOSSIBLE,
    (LEAVE, KNOCK): Transition.KNOCKED,
    (BAN, KNOCK): Transition.IMPOSSIBLE,
    (KNOCK, KNOCK): Transition.NO_CHANGE,
    (BAN, BAN): Transition.NO_CHANGE,
}


def transition(before: str | None, after: str, *, by_self: bool) -> Transition:
    """What the change from `before` (None: never a member) to `after` means; both are memberships.

    State resolution can bring about changes that no single event may make: those are IMPOSSIBLE only as events.
    """
    before = LEAVE if before is None else before
    if after == LEAVE:
        own, others = _TO_LEAVE[before]
        return own if by_self else others
    if after == BAN and before != BAN:
        return Transition.BANNED
    return _OTHERS[before, after]
