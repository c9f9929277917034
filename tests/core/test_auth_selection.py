"""Which state an event names as its authorization [ss "Auth events selection"]."""

from typing import Any

import pytest

from homeserver.core.auth.selection import auth_events_selection, auth_state_keys
from homeserver.core.room_versions import RoomVersion
from tests.kit.verdicts import ALL, since, until

ALICE, BOB, CHARLIE = "@alice:a.example", "@bob:b.example", "@charlie:c.example"
SIGNED = {"third_party_invite": {"signed": {"token": "t"}}}
RULES, OFFER = ("m.room.join_rules", ""), ("m.room.third_party_invite", "t")


def member(user: str) -> tuple[str, str]:
    return ("m.room.member", user)


ROWS: list[tuple[tuple[RoomVersion, ...], str | None, dict[str, Any], set[tuple[str, str]]]] = [
    (ALL, ALICE, {"membership": "join"}, {RULES}),
    (ALL, BOB, {"membership": "invite"}, {member(BOB), RULES}),
    (ALL, ALICE, {"membership": "knock"}, {RULES}),
    (ALL, BOB, {"membership": "leave"}, {member(BOB)}),
    (ALL, BOB, {"membership": "ban"}, {member(BOB)}),
    (ALL, BOB, {}, {member(BOB)}),
    (ALL, None, {"membership": "join"}, set()),
    (ALL, BOB, {"membership": "invite", **SIGNED}, {member(BOB), RULES, OFFER}),
    (ALL, BOB, {"membership": "leave", **SIGNED}, {member(BOB)}),
    (
        ALL,
        BOB,
        {"membership": "invite", "third_party_invite": {"signed": {"token": 5}}},
        {member(BOB), RULES},
    ),
    (ALL, BOB, {"membership": "invite", "third_party_invite": 5}, {member(BOB), RULES}),
    (until(7), ALICE, {"membership": "join", "join_authorised_via_users_server": CHARLIE}, {RULES}),
    (
        since(8),
        ALICE,
        {"membership": "join", "join_authorised_via_users_server": CHARLIE},
        {RULES, member(CHARLIE)},
    ),
    (since(8), ALICE, {"membership": "join", "join_authorised_via_users_server": 5}, {RULES}),
    (since(8), ALICE, {"membership": "leave", "join_authorised_via_users_server": CHARLIE}, set()),
]


@pytest.mark.parametrize(("versions", "state_key", "content", "further"), ROWS)
def test_memberships(
    versions: tuple[RoomVersion, ...],
    state_key: str | None,
    content: dict[str, Any],
    further: set[tuple[str, str]],
) -> None:
    for version in versions:
        create = set() if version.room_id_is_create_hash else {("m.room.create", "")}
        selected = auth_events_selection("m.room.member", ALICE, state_key, content, version)
        assert set(selected) == {("m.room.power_levels", ""), member(ALICE), *create, *further}
        assert len(selected) == len(set(selected))


def test_other_events() -> None:
    for version in ALL:
        keys = set(auth_events_selection("m.room.message", ALICE, None, {"membership": "join"}, version))
        assert keys - {("m.room.create", "")} == {("m.room.power_levels", ""), member(ALICE)}
        assert auth_events_selection("m.room.create", ALICE, "", {}, version) == ()
        assert ("m.room.create", "") in auth_state_keys("m.room.message", ALICE, None, {}, version)
