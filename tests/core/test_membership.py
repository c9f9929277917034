"""The changes of membership by their names [cs "m.room.member"]."""

import pytest

from homeserver.core.membership import MEMBERSHIPS, Transition, transition

TABLE = [
    ("invite", "invite", True, Transition.NO_CHANGE),
    ("invite", "join", True, Transition.JOINED),
    ("invite", "leave", True, Transition.INVITE_REJECTED),
    ("invite", "leave", False, Transition.INVITE_REVOKED),
    ("invite", "ban", False, Transition.BANNED),
    ("invite", "knock", True, Transition.KNOCKED),
    ("join", "invite", False, Transition.IMPOSSIBLE),
    ("join", "join", True, Transition.PROFILE_CHANGED),
    ("join", "leave", True, Transition.LEFT),
    ("join", "leave", False, Transition.KICKED),
    ("join", "ban", False, Transition.BANNED),
    ("join", "knock", True, Transition.IMPOSSIBLE),
    (None, "invite", False, Transition.INVITED),
    ("leave", "invite", False, Transition.INVITED),
    ("leave", "join", True, Transition.JOINED),
    ("leave", "leave", True, Transition.NO_CHANGE),
    ("leave", "knock", True, Transition.KNOCKED),
    ("ban", "leave", False, Transition.UNBANNED),
    ("ban", "ban", False, Transition.NO_CHANGE),
    ("ban", "join", True, Transition.IMPOSSIBLE),
    ("knock", "invite", False, Transition.KNOCK_ACCEPTED),
    ("knock", "leave", True, Transition.KNOCK_RETRACTED),
    ("knock", "leave", False, Transition.KNOCK_DENIED),
    ("knock", "knock", True, Transition.NO_CHANGE),
]


@pytest.mark.parametrize(("before", "after", "by_self", "expected"), TABLE)
def test_transitions(before: str | None, after: str, by_self: bool, expected: Transition) -> None:
    assert transition(before, after, by_self=by_self) is expected


def test_every_pair_has_a_name() -> None:
    for before in [None, *MEMBERSHIPS]:
        for after in MEMBERSHIPS:
            for by_self in (True, False):
                named = transition(before, after, by_self=by_self)
                assert not named.is_leave or after == "leave"


def test_kinds_of_leave() -> None:
    assert Transition.LEFT.is_leave
    assert not Transition.LEFT.by_others
    assert Transition.KICKED.is_leave
    assert Transition.KICKED.by_others
    assert not Transition.UNBANNED.is_leave
