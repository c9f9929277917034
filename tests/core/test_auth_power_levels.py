"""Changes of the power levels, and what levels mean: a row for each rule and difference [rooms/v12 auth 10]."""

import math
from typing import Any

import pytest
from attrs import field, frozen

from homeserver.core.power_levels import power_levels
from homeserver.core.room_versions import V1, V6, V9, V10, V11, V12, RoomVersion
from tests.kit.room_builder import ALICE, BOB, CHARLIE, RoomBuilder
from tests.kit.verdicts import ALL, OK, since, until, verdict

EVE = "@eve:e.example"


@frozen
class Row:
    """bob (50) sends `new` where `current` is in force; None: there are no power levels yet.

    alice created the room; `users` of both, unless they are given, are bob, charlie (50 too) and eve (10).
    """

    versions: tuple[RoomVersion, ...]
    expected: str
    new: dict[str, Any]
    current: dict[str, Any] | None = field(factory=dict)


USERS = {BOB: 50, CHARLIE: 50, EVE: 10}


def users(**changes: Any) -> dict[str, Any]:
    """USERS with some levels changed, by first letter; None takes one out."""
    names = {"bob": BOB, "charlie": CHARLIE, "eve": EVE, "new": "@new:n.example", "alice": ALICE}
    merged = {**USERS, **{names[name]: level for name, level in changes.items()}}
    return {"users": {user: level for user, level in merged.items() if level is not None}}


NAMED = ("users_default", "events_default", "state_default", "ban", "redact", "kick", "invite")
ROWS = [
    # 10.1, 10.2, 10.3: the shape; strings were legal until v9
    *(Row(since(10), "v12 10.1", {name: "0"}) for name in NAMED),
    *(Row(until(9), OK, {name: "50"}) for name in NAMED),
    *(Row(ALL, OK, {name: 0}, {name: 0}) for name in NAMED),
    Row(since(10), "v12 10.1", {"ban": None}),
    Row(since(10), "v12 10.1", {"ban": True}),
    Row(until(9), OK, {"ban": " +0050 "}),
    Row(until(5), OK, {"ban": 50.9}),  # floats, cut at the point
    Row(until(9), "v12 10.6.2", {"ban": "many"}),
    Row(until(9), "v12 10.6.2", {"ban": "5_0"}),
    Row(until(9), "v12 10.6.2", {"ban": "9" * 5000}),
    *(Row(since(10), "v12 10.2", {section: {"m.x": "0"}}) for section in ("events", "notifications")),
    *(Row(since(10), "v12 10.2", {section: []}) for section in ("events", "notifications")),
    *(Row(until(9), OK, {section: {"m.x": "0"}}) for section in ("events", "notifications")),
    Row(until(9), OK, {"events": []}),  # no object, no levels
    Row(ALL, "v12 10.3", {"users": []}),
    Row(ALL, "v12 10.3", {"users": {"bob": 5}}),
    Row(ALL, "v12 10.3", {"users": {"@bob": 5}}),
    Row(ALL, "v12 10.3", users(eve="ten")),
    Row(ALL, "v12 10.3", users(eve="1.5")),
    Row(ALL, "v12 10.3", users(eve=None, bob=True)),
    Row(since(10), "v12 10.3", users(eve="10")),
    Row(until(9), OK, users(eve="10")),  # means the same
    Row(ALL, OK, {"users": {"@:e.example": 5, **USERS}}),  # historical user ids are user ids
    # 10.4, since v12
    Row(until(11), OK, users(alice=50)),
    Row(since(12), "v12 10.4", users(alice=50)),
    # 10.6: named levels
    *(Row(ALL, OK, {name: 50}) for name in NAMED),
    *(Row(ALL, "v12 10.6.2", {name: 51}) for name in NAMED),
    *(Row(ALL, "v12 10.6.1", {name: 50}, {name: 51}) for name in NAMED if name != "state_default"),
    *(Row(ALL, "v12 10.6.1", {}, {name: 51}) for name in NAMED if name != "state_default"),
    *(Row(ALL, OK, {}, {name: 50}) for name in NAMED),
    Row(ALL, OK, {"ban": 99}, {"ban": 99}),  # above the sender, but untouched
    # 10.7, 10.8: events; notifications since v6
    Row(ALL, OK, {"events": {"m.x": 50}}),
    Row(ALL, "v12 10.8.1", {"events": {"m.x": 51}}),
    Row(ALL, "v12 10.7.1", {}, {"events": {"m.x": 51}}),
    Row(ALL, "v12 10.7.1", {"events": {"m.x": 50}}, {"events": {"m.x": 51}}),
    Row(ALL, OK, {"events": {"m.x": 51}}, {"events": {"m.x": 51}}),
    Row(until(5), OK, {"notifications": {"room": 51}}),
    Row(until(5), OK, {}, {"notifications": {"room": 51}}),
    Row(since(6), "v12 10.8.1", {"notifications": {"room": 51}}),
    Row(since(6), "v12 10.7.1", {}, {"notifications": {"room": 51}}),
    # 10.9, 10.10: users
    Row(ALL, OK, users(eve=50)),
    Row(ALL, OK, users(eve=None)),
    Row(ALL, OK, users(new=50)),
    Row(ALL, OK, users(bob=0)),
    Row(ALL, OK, users(bob=None)),
    Row(ALL, "v12 10.9.1", users(charlie=49)),
    Row(ALL, "v12 10.9.1", users(charlie=None)),
    Row(ALL, "v12 10.10.1", users(bob=51)),
    Row(ALL, "v12 10.10.1", users(eve=51)),
    Row(ALL, "v12 10.10.1", users(new=51)),
    # 10.5: the first power levels, sent by who may send state without any
    Row(until(11), "v12 8", {}, None),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.expected or 'ok'} {str(row.new)[:60]}")
def test_power_levels(row: Row) -> None:
    for version in row.versions:
        room = RoomBuilder(version).created_by(ALICE)
        room.join(BOB)
        if row.current is not None:
            room.send_state(ALICE, "m.room.power_levels", "", {**users(), **row.current})
        new = row.new if "users" in row.new else {**users(), **row.new}
        event = room.draft(BOB, "m.room.power_levels", new, state_key="")
        assert verdict(event, room.state) == row.expected, version.name


def test_the_first_power_levels_may_be_anything() -> None:
    for version in ALL:
        room = RoomBuilder(version).created_by(ALICE)
        event = room.draft(ALICE, "m.room.power_levels", {"ban": 2000, "users": {BOB: 1000}}, state_key="")
        assert verdict(event, room.state) == OK, version.name


def test_no_user_may_be_named_whom_the_room_has_for_a_creator() -> None:
    room = RoomBuilder(V12)
    room.create(ALICE, additional_creators=[CHARLIE])
    room.join(ALICE)
    event = room.draft(ALICE, "m.room.power_levels", {"users": {CHARLIE: 1}}, state_key="")
    assert verdict(event, room.state) == "v12 10.4"


LEVELS = [  # version, content or None, of alice (the creator), of bob, for state, for messages, to ban
    (V1, None, 100, 0, 50, 0, 50),
    (V11, None, 100, 0, 50, 0, 50),
    (V12, None, math.inf, 0, 50, 0, 50),
    (V11, {}, 0, 0, 50, 0, 50),
    (V12, {}, math.inf, 0, 50, 0, 50),
    (V11, {"users": {BOB: 7}, "users_default": 3}, 3, 7, 50, 0, 50),
    (V11, {"state_default": 1, "events_default": 2, "ban": 3}, 0, 0, 1, 2, 3),
    (V9, {"users": {BOB: "7"}, "ban": " -5"}, 0, 7, 50, 0, -5),
    (V10, {"users": {BOB: "7"}, "ban": " -5"}, 0, -math.inf, 50, 0, math.inf),
    (V1, {"users": {BOB: 7.9}, "ban": 5.1e1}, 0, 7, 50, 0, 51),
    (V1, {"users": {BOB: -7.9}, "users_default": "x"}, -math.inf, -7, 50, 0, 50),
    (V6, {"users": 5, "events": "x", "notifications": None, "ban": []}, 0, 0, 50, 0, math.inf),
]


@pytest.mark.parametrize(("version", "content", "alice", "bob", "state", "message", "ban"), LEVELS)
def test_what_levels_mean(
    version: RoomVersion,
    content: dict[str, Any] | None,
    alice: float,
    bob: float,
    state: float,
    message: float,
    ban: float,
) -> None:
    room = RoomBuilder(version).created_by(ALICE)
    event = None if content is None else room.send_state(ALICE, "m.room.power_levels", "", content)
    levels = power_levels(event, room.state["m.room.create", ""], version)
    assert (levels.of(ALICE), levels.of(BOB)) == (alice, bob)
    assert levels.to_send("m.x", is_state=True) == state
    assert levels.to_send("m.x", is_state=False) == message
    assert levels.ban == ban


def test_levels_are_read_once_for_an_event_and_its_creators() -> None:
    room = RoomBuilder(V12).created_by(ALICE)
    event = room.power_levels(ALICE, {BOB: 50}, notifications={"room": 20}, events={"m.x": 51})
    create = room.state["m.room.create", ""]
    levels = power_levels(event, create, V12)
    assert power_levels(event, create, V12) is levels
    assert power_levels(event, None, V12).of(ALICE) == 0
    assert levels.may_notify(BOB)
    assert not levels.may_notify(EVE)
    assert levels.may_send(ALICE, "m.x", is_state=True)
    assert not levels.may_send(BOB, "m.x", is_state=True)
    assert (levels.invite, levels.kick, levels.redact) == (0, 50, 50)
