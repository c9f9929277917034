"""What goes along when a room is replaced."""

import pytest

from homeserver.core.event import Event, StateKey
from homeserver.core.room_replacing import Replacement, join_rules_content, levels_content, raised_levels
from homeserver.core.room_versions import V6, V7, V9, V10, V11, V12, RoomVersion

ALICE, BOB = "@alice:example.org", "@bob:example.org"


def state_of(version: RoomVersion, levels: dict) -> dict[StateKey, Event]:
    """A room that alice made, with these levels."""
    create = {"creator": ALICE} if version.create_names_creator else {}
    contents = {"m.room.create": create, "m.room.power_levels": levels}
    return {
        (kind, ""): Event(
            event_id=f"${kind}",
            room_id="!old",
            type=kind,
            sender=ALICE,
            state_key="",
            content=content,
            origin_server_ts=1,
            depth=1,
            prev_events=(),
            auth_events=(),
            pdu={},
            version=version,
        )
        for kind, content in contents.items()
    }


@pytest.mark.parametrize(
    ("rule", "version", "becomes"),
    [
        ("public", V6, "public"),
        ("knock", V6, "invite"),  # rooms could not be knocked at until v7
        ("knock", V7, "knock"),
        ("restricted", V7, "invite"),
        ("restricted", V9, "restricted"),
        ("knock_restricted", V9, "invite"),
        ("knock_restricted", V10, "knock_restricted"),
        (["public"], V10, "invite"),
    ],
)
def test_join_rules_open_no_door(rule: object, version: RoomVersion, becomes: str) -> None:
    assert join_rules_content({"join_rule": rule}, version)["join_rule"] == becomes


@pytest.mark.parametrize(
    ("old", "levels", "new", "users"),
    [
        (V11, {ALICE: 100, BOB: 50}, V12, {BOB: 50}),  # creators have no level since v12
        (V12, {BOB: 50}, V11, {ALICE: 100, BOB: 50}),  # and get one below it
        (V12, {BOB: 150}, V11, {ALICE: 150, BOB: 150}),
        (V9, {ALICE: "100", BOB: "x"}, V10, {ALICE: 100}),  # strings were legal until v9
        (V9, {ALICE: 60, "bob": 50}, V11, {ALICE: 60}),  # what is no user id is left out
    ],
)
def test_levels_suit_the_new_version(old: RoomVersion, levels: dict, new: RoomVersion, users: dict) -> None:
    made = levels_content(state_of(old, {"users": levels}), Replacement(new, ALICE, "!old"))
    assert made["users"] == users


@pytest.mark.parametrize(
    ("content", "raised"),
    [
        ({}, {"events_default": 50, "invite": 50}),
        ({"users_default": 60}, {"users_default": 60, "events_default": 61, "invite": 61}),
        ({"events_default": 50, "invite": 70}, None),
    ],
)
def test_only_moderators_speak_in_a_replaced_room(content: dict, raised: dict | None) -> None:
    assert raised_levels(content, V10) == raised
