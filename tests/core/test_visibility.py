"""History visibility by the rules, and over a page of timeline."""

import pytest

from homeserver.core.room_versions import V11
from homeserver.core.visibility import Facts, Seen, Timeline, Viewer, may_see, may_see_event
from tests.kit.room_builder import ALICE, BOB, RoomBuilder


@pytest.mark.parametrize(
    ("visibility", "membership", "joined_later", "visible"),
    [
        ("world_readable", None, False, True),
        ("world_readable", "ban", False, True),
        ("shared", "join", False, True),
        ("shared", None, True, True),  # joined after it
        ("shared", "leave", False, False),
        ("shared", "invite", False, False),
        ("invited", "invite", False, True),
        ("invited", None, True, False),
        ("invited", "join", False, True),
        ("joined", "invite", True, False),
        ("joined", "leave", True, False),
        ("joined", "join", False, True),
        (None, None, True, True),  # none set: shared
        ("of my own making", None, True, True),  # not understood: shared
        (["joined"], None, True, True),
        ("world_readable", ["join"], False, True),
    ],
)
def test_one_state(visibility: object, membership: object, joined_later: bool, visible: bool) -> None:
    assert may_see(visibility, membership, joined_later=joined_later) == visible


@pytest.mark.parametrize(
    ("visibility", "membership", "visible"),
    [
        (Facts("joined", "world_readable"), Facts(None, None), True),  # a room is opened
        (Facts("world_readable", "joined"), Facts(None, None), True),  # and closed
        (Facts("joined", "invited"), Facts("leave", "leave"), False),
        (Facts("joined", "joined"), Facts("join", "ban"), True),  # one's own ban
        (Facts("joined", "joined"), Facts("invite", "join"), True),
        (Facts("invited", "invited"), Facts(None, "invite"), True),
        (Facts("joined", "joined"), Facts("invite", "leave"), False),
    ],
)
def test_changes_count_on_both_sides(visibility: Facts, membership: Facts, visible: bool) -> None:
    assert may_see_event(visibility, membership, joined_later=False) == visible


def test_a_page_needs_two_short_lists() -> None:
    """Position n is the n-th state event; bob joins, is away for two messages, and comes back."""
    room = RoomBuilder(V11).public(ALICE)  # positions 1 to 4
    hidden = room.send_state(ALICE, "m.room.history_visibility", "", {"history_visibility": "joined"})  # 5
    early = room.message(ALICE, "before bob")
    joined = room.join(BOB)  # 6
    present = room.message(ALICE, "while bob is here")
    left = room.leave(BOB)  # 7
    absent = room.message(ALICE, "while bob is away")
    shared = room.send_state(ALICE, "m.room.history_visibility", "", {"history_visibility": "shared"})  # 8
    open_again = room.message(ALICE, "bob may read this later")
    again = room.join(BOB)  # 9
    bob = Viewer(BOB, Timeline([6, 7, 9], ["join", "leave", "join"]), Timeline([5, 8], ["joined", "shared"]))
    page = [
        Seen(event, position)
        for event, position in [
            (hidden, 4),
            (early, 5),
            (joined, 5),
            (present, 6),
            (left, 6),
            (absent, 7),
            (shared, 7),
            (open_again, 8),
            (again, 8),
        ]
    ]
    # the change to "joined" is seen since it was shared until then
    assert bob.visible(page) == [hidden, joined, present, left, shared, open_again, again]


def test_an_event_on_a_fork_brings_its_own_facts() -> None:
    room = RoomBuilder(V11).public(ALICE)
    event = room.message(ALICE)
    bob = Viewer(BOB, Timeline([6], ["join"]), Timeline([5], ["joined"]))
    assert bob.sees(Seen(event, 6))
    assert not bob.sees(Seen(event, 6, membership=(None,)))
    assert bob.sees(Seen(event, 6, visibility=("world_readable",), membership=(None,)))


def test_somebody_who_never_was_here() -> None:
    room = RoomBuilder(V11).public(ALICE)
    nobody = Viewer("@x:y.example", Timeline([], []), Timeline([], []))
    assert not nobody.sees(Seen(room.message(ALICE), 4))
