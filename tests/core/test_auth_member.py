"""Changes of membership: a row for each rule and each difference between versions [rooms/v12 auth 5]."""

from typing import Any

import pytest
from attrs import field, frozen

from homeserver.core.event import Event
from homeserver.core.room_versions import RoomVersion
from tests.kit.room_builder import ALICE, BOB, CHARLIE, RoomBuilder
from tests.kit.verdicts import ALL, OK, since, until, verdict

EVE = "@eve:e.example"


@frozen
class Row:
    """alice (level 100, or creator) and bob (50) are in the room; `before` are further memberships."""

    versions: tuple[RoomVersion, ...]
    expected: str
    event: tuple[str, str | None, dict[str, Any]]  # sender, state key, content
    before: dict[str, str] = field(factory=dict)
    join_rule: str = "invite"
    levels: dict[str, Any] = field(factory=dict)


def join(user: str, **content: Any) -> tuple[str, str, dict[str, Any]]:
    return user, user, {"membership": "join", **content}


def by(sender: str, target: str, membership: str) -> tuple[str, str, dict[str, Any]]:
    return sender, target, {"membership": membership}


def vouched(user: str, authorizer: Any) -> tuple[str, str, dict[str, Any]]:
    return join(user, join_authorised_via_users_server=authorizer)


ROWS = [
    # shape
    Row(ALL, "v12 5.1", (ALICE, None, {"membership": "join"})),
    Row(ALL, "v12 5.1", (ALICE, ALICE, {})),
    Row(ALL, "v12 5.8", by(ALICE, ALICE, "dancing")),
    Row(ALL, "v12 5.8", (ALICE, ALICE, {"membership": 5})),
    Row(until(6), "v12 5.8", by(CHARLIE, CHARLIE, "knock"), join_rule="knock"),
    # join
    Row(ALL, "v12 5.3.2", by(ALICE, CHARLIE, "join"), join_rule="public"),
    Row(ALL, "v12 5.3.3", join(CHARLIE), {CHARLIE: "ban"}, "public"),
    Row(ALL, OK, join(CHARLIE), {}, "public"),
    Row(ALL, OK, join(CHARLIE), {CHARLIE: "leave"}, "public"),
    Row(ALL, OK, join(CHARLIE), {CHARLIE: "invite"}, "invite"),
    Row(ALL, OK, join(BOB), {}, "invite"),  # already there: a new profile
    Row(ALL, "v12 5.3.7", join(CHARLIE), {}, "invite"),
    Row(ALL, "v12 5.3.7", join(CHARLIE), {CHARLIE: "leave"}, "invite"),
    Row(ALL, "v12 5.3.7", join(CHARLIE), {CHARLIE: "invite"}, "private"),  # an unknown rule lets nobody in
    Row(until(6), "v12 5.3.7", join(CHARLIE), {CHARLIE: "invite"}, "knock"),  # unknown until v6
    Row(since(7), OK, join(CHARLIE), {CHARLIE: "invite"}, "knock"),
    Row(since(7), "v12 5.3.7", join(CHARLIE), {CHARLIE: "knock"}, "knock"),
    # restricted join
    Row(until(7), "v12 5.3.7", vouched(CHARLIE, BOB), {}, "restricted"),
    Row(since(8), OK, vouched(CHARLIE, BOB), {}, "restricted"),
    Row(since(8), OK, join(CHARLIE), {CHARLIE: "invite"}, "restricted"),
    Row(since(8), OK, join(BOB), {}, "restricted"),
    Row(since(8), "v12 5.3.5.2", join(CHARLIE), {}, "restricted"),
    Row(since(8), "v12 5.3.5.2", vouched(CHARLIE, EVE), {}, "restricted"),  # not in the room
    Row(since(8), "v12 5.3.5.2", vouched(CHARLIE, EVE), {EVE: "invite"}, "restricted"),
    Row(since(8), "v12 5.3.5.2", vouched(CHARLIE, 5), {}, "restricted"),
    Row(since(8), "v12 5.3.5.2", vouched(CHARLIE, BOB), {}, "restricted", {"invite": 51}),
    Row(since(8), OK, vouched(CHARLIE, BOB), {}, "restricted", {"invite": 50}),
    Row(since(8), "v12 5.3.3", vouched(CHARLIE, BOB), {CHARLIE: "ban"}, "restricted"),
    Row(until(9), "v12 5.3.7", vouched(CHARLIE, BOB), {CHARLIE: "invite"}, "knock_restricted"),
    Row(since(10), OK, vouched(CHARLIE, BOB), {}, "knock_restricted"),
    Row(since(10), OK, join(CHARLIE), {CHARLIE: "invite"}, "knock_restricted"),
    # invite
    Row(ALL, OK, by(BOB, CHARLIE, "invite")),
    Row(ALL, OK, by(BOB, CHARLIE, "invite"), {CHARLIE: "invite"}),
    Row(ALL, "v12 5.4.2", by(EVE, CHARLIE, "invite")),
    Row(ALL, "v12 5.4.2", by(EVE, CHARLIE, "invite"), {EVE: "invite"}),
    Row(ALL, "v12 5.4.3", by(ALICE, BOB, "invite")),
    Row(ALL, "v12 5.4.3", by(ALICE, CHARLIE, "invite"), {CHARLIE: "ban"}),
    Row(ALL, "v12 5.4.5", by(BOB, CHARLIE, "invite"), levels={"invite": 51}),
    # leave
    Row(ALL, OK, by(BOB, BOB, "leave")),
    Row(ALL, OK, by(CHARLIE, CHARLIE, "leave"), {CHARLIE: "invite"}),
    Row(until(6), "v12 5.5.1", by(CHARLIE, CHARLIE, "leave"), {CHARLIE: "knock"}),
    Row(since(7), OK, by(CHARLIE, CHARLIE, "leave"), {CHARLIE: "knock"}),
    Row(ALL, "v12 5.5.1", by(CHARLIE, CHARLIE, "leave")),
    Row(ALL, "v12 5.5.1", by(CHARLIE, CHARLIE, "leave"), {CHARLIE: "ban"}),
    Row(ALL, "v12 5.5.1", by(CHARLIE, CHARLIE, "leave"), {CHARLIE: "leave"}),
    Row(ALL, "v12 5.5.2", by(EVE, BOB, "leave")),
    Row(ALL, OK, by(BOB, CHARLIE, "leave"), {CHARLIE: "join"}),
    Row(ALL, "v12 5.5.5", by(BOB, ALICE, "leave")),
    Row(ALL, "v12 5.5.5", by(BOB, CHARLIE, "leave"), {CHARLIE: "join"}, levels={"kick": 51}),
    Row(ALL, "v12 5.5.5", by(BOB, CHARLIE, "leave"), {CHARLIE: "join"}, levels={"users_default": 50}),
    Row(ALL, OK, by(BOB, CHARLIE, "leave"), {CHARLIE: "ban"}),
    Row(ALL, "v12 5.5.3", by(BOB, CHARLIE, "leave"), {CHARLIE: "ban"}, levels={"ban": 51}),
    Row(ALL, "v12 5.5.5", by(BOB, CHARLIE, "leave"), {CHARLIE: "ban"}, levels={"kick": 51}),
    # ban
    Row(ALL, OK, by(BOB, CHARLIE, "ban")),
    Row(ALL, OK, by(BOB, CHARLIE, "ban"), {CHARLIE: "join"}),
    Row(ALL, "v12 5.6.1", by(EVE, CHARLIE, "ban")),
    Row(ALL, "v12 5.6.3", by(BOB, ALICE, "ban")),
    Row(ALL, "v12 5.6.3", by(BOB, BOB, "ban")),
    Row(ALL, "v12 5.6.3", by(BOB, CHARLIE, "ban"), levels={"ban": 51}),
    # knock
    Row(since(7), OK, by(CHARLIE, CHARLIE, "knock"), {}, "knock"),
    Row(since(7), OK, by(CHARLIE, CHARLIE, "knock"), {CHARLIE: "leave"}, "knock"),
    Row(since(7), "v12 5.7.1", by(CHARLIE, CHARLIE, "knock"), {}, "invite"),
    Row(since(7)[:3], "v12 5.7.1", by(CHARLIE, CHARLIE, "knock"), {}, "knock_restricted"),
    Row(since(10), OK, by(CHARLIE, CHARLIE, "knock"), {}, "knock_restricted"),
    Row(since(7), "v12 5.7.2", by(ALICE, CHARLIE, "knock"), {}, "knock"),
    *(
        Row(since(7), "v12 5.7.4", by(CHARLIE, CHARLIE, "knock"), {CHARLIE: membership}, "knock")
        for membership in ("ban", "invite", "join")
    ),
]


def scene(version: RoomVersion, row: Row) -> RoomBuilder:
    room = RoomBuilder(version).created_by(ALICE)
    creator = {} if version.privileged_creators else {ALICE: 100}
    room.power_levels(ALICE, {**creator, BOB: 50}, **row.levels)
    room.join_rules(ALICE, row.join_rule)
    room.join(BOB)
    for user, membership in row.before.items():
        room.member(user, user, membership)
    return room


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.expected or 'ok'} {row.event[2]}")
def test_membership(row: Row) -> None:
    sender, state_key, content = row.event
    for version in row.versions:
        room = scene(version, row)
        event = room.draft(sender, "m.room.member", content, state_key=state_key)
        assert verdict(event, room.state) == row.expected, version.name


FIRST_JOIN_ROWS = [
    (ALL, ALICE, 1, OK),
    (ALL, BOB, 1, "v12 5.3.7"),
    (ALL, ALICE, 2, "v12 5.3.7"),  # something stands between
]


@pytest.mark.parametrize(("versions", "user", "distance", "expected"), FIRST_JOIN_ROWS)
def test_first_join(versions: tuple[RoomVersion, ...], user: str, distance: int, expected: str) -> None:
    for version in versions:
        room = RoomBuilder(version)
        room.create(ALICE)
        if distance > 1:
            room.topic(ALICE, "in between")
        event = room.draft(user, "m.room.member", {"membership": "join"}, state_key=user)
        assert verdict(event, room.state) == expected, version.name


def test_the_creator_is_whom_the_version_says() -> None:
    """Until v10 `content.creator` names the creator, whoever sent the event; since v11 it is the sender."""
    for version in ALL:
        room = RoomBuilder(version)
        room.create(ALICE, creator=BOB)
        event = room.draft(BOB, "m.room.member", {"membership": "join"}, state_key=BOB)
        expected = OK if version.create_names_creator else "v12 5.3.7"
        assert verdict(event, room.state) == expected, version.name


AUTHORIZER_ROWS = [(until(7), OK), (since(8), "v12 5.2.1")]


@pytest.mark.parametrize(("versions", "expected"), AUTHORIZER_ROWS)
def test_the_authorizing_server_must_have_signed(versions: tuple[RoomVersion, ...], expected: str) -> None:
    for version in versions:
        room = RoomBuilder(version).public(ALICE)
        event = room.draft(*draft(vouched(CHARLIE, ALICE)), state_key=CHARLIE)
        assert verdict(event, room.state, authorizer_signed=False) == expected, version.name


def draft(event: tuple[str, str | None, dict[str, Any]]) -> tuple[str, str, dict[str, Any]]:
    sender, _, content = event
    return sender, "m.room.member", content


def test_creators_stand_above_every_level() -> None:
    """Since v12 no level protects from a creator, and none reaches one [rooms/v12 "Authorisation rules"]."""
    for version in since(12):
        room = RoomBuilder(version)
        room.create(ALICE, additional_creators=[CHARLIE])
        for user in (ALICE, BOB, CHARLIE):
            room.join(user)
        room.power_levels(ALICE, {BOB: 2**53 - 1}, ban=2**53 - 1)
        assert verdict(_ban(room, CHARLIE, BOB), room.state) == OK
        assert verdict(_ban(room, BOB, CHARLIE), room.state) == "v12 5.6.3"
        assert verdict(_ban(room, ALICE, CHARLIE), room.state) == "v12 5.6.3"  # equals


def _ban(room: RoomBuilder, sender: str, target: str) -> Event:
    return room.draft(sender, "m.room.member", {"membership": "ban"}, state_key=target)
