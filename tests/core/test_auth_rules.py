"""All other authorization rules: a row for each and for each difference between versions."""

from typing import Any

import pytest
from attrs import evolve

from homeserver.core.auth.rejection import Rejected
from homeserver.core.auth.rules import check_auth_events
from homeserver.core.event import Event
from homeserver.core.room_versions import V1, V2, V11, V12, RoomVersion
from tests.kit.room_builder import ALICE, BOB, CHARLIE, Links, RoomBuilder
from tests.kit.verdicts import ALL, OK, short, since, until, verdict

CREATOR = {"creator": ALICE}
CREATE_ROWS: list[tuple[tuple[RoomVersion, ...], dict[str, Any], str]] = [
    (ALL, CREATOR, OK),
    (ALL, {**CREATOR, "room_version": "1"}, OK),
    (ALL, {**CREATOR, "room_version": "nonsense"}, "v12 1.3"),
    (ALL, {**CREATOR, "room_version": 1}, "v12 1.3"),
    (until(10), {}, "v10 1.4"),
    (since(11), {}, OK),
    (until(11), {**CREATOR, "additional_creators": "bob"}, OK),
    (since(12), {"additional_creators": [BOB]}, OK),
    (since(12), {"additional_creators": []}, OK),
    (since(12), {"additional_creators": BOB}, "v12 1.4"),
    (since(12), {"additional_creators": ["bob"]}, "v12 1.4"),
    (since(12), {"additional_creators": [5]}, "v12 1.4"),
]


@pytest.mark.parametrize(("versions", "content", "expected"), CREATE_ROWS)
def test_create(versions: tuple[RoomVersion, ...], content: dict[str, Any], expected: str) -> None:
    for version in versions:
        event = RoomBuilder(version).draft(ALICE, "m.room.create", content, state_key="")
        assert verdict(event, {}) == expected, version.name


CREATE_ELSEWHERE = [(until(11), "v11 1.2"), (since(12), OK)]


@pytest.mark.parametrize(("versions", "expected"), CREATE_ELSEWHERE)
def test_a_room_id_belongs_to_its_makers_server(versions: tuple[RoomVersion, ...], expected: str) -> None:
    for version in versions:
        event = RoomBuilder(version).draft(BOB, "m.room.create", CREATOR, state_key="")
        assert verdict(event, {}) == expected, version.name


CREATE_SHAPE = ["v12 1.1", "v12 1.2"]


def test_nothing_comes_before_a_create_event() -> None:
    for version in ALL:
        room = RoomBuilder(version).created_by(ALICE)
        event = room.draft(ALICE, "m.room.create", CREATOR, state_key="")
        assert verdict(event, room.state) == CREATE_SHAPE[0], version.name


def test_a_create_event_whose_hash_is_the_room_id_has_none() -> None:
    event = RoomBuilder(V12).draft(ALICE, "m.room.create", CREATOR, state_key="")
    named = evolve(event, pdu={**event.pdu, "room_id": event.room_id})
    assert verdict(named, {}) == CREATE_SHAPE[1]


STATE_ROWS: list[tuple[tuple[RoomVersion, ...], str, str, str | None, dict[str, Any], str]] = [
    # sender, type, state key, content; alice 100 or creator, bob 0, both in the room
    (ALL, ALICE, "m.room.message", None, {}, OK),
    (ALL, BOB, "m.room.message", None, {}, OK),
    (ALL, CHARLIE, "m.room.message", None, {}, "v12 6"),
    (ALL, BOB, "m.room.topic", "", {}, "v12 8"),
    (ALL, ALICE, "m.room.topic", "", {}, OK),
    (ALL, BOB, "m.high", None, {}, "v12 8"),
    (ALL, BOB, "m.low", "", {}, OK),
    (ALL, BOB, "m.low", BOB, {}, OK),
    (ALL, BOB, "m.low", ALICE, {}, "v12 9"),
    (ALL, ALICE, "m.low", BOB, {}, "v12 9"),
    (ALL, BOB, "m.low", "bob", {}, OK),
    (ALL, ALICE, "m.room.third_party_invite", "token", {}, OK),
    (ALL, BOB, "m.room.third_party_invite", "token", {}, "v12 7.1"),
    # aliases had a rule of their own until v5
    (until(5), CHARLIE, "m.room.aliases", "c.example", {}, OK),
    (until(5), CHARLIE, "m.room.aliases", "b.example", {}, "v5 4.2"),
    (until(5), ALICE, "m.room.aliases", None, {}, "v5 4.1"),
    (since(6), CHARLIE, "m.room.aliases", "c.example", {}, "v12 6"),
    (since(6), ALICE, "m.room.aliases", "b.example", {}, OK),
    # redactions of others' events needed a level, or the same server, until v2
    (since(3), BOB, "m.room.redaction", None, {}, OK),
]


@pytest.mark.parametrize(("versions", "sender", "kind", "state_key", "content", "expected"), STATE_ROWS)
def test_by_state(
    versions: tuple[RoomVersion, ...],
    sender: str,
    kind: str,
    state_key: str | None,
    content: dict[str, Any],
    expected: str,
) -> None:
    for version in versions:
        room = RoomBuilder(version).public(ALICE)
        creator = {} if version.privileged_creators else {ALICE: 100}
        room.power_levels(ALICE, creator, invite=1, events={"m.high": 1, "m.low": 0})
        room.join(BOB)
        event = room.draft(sender, kind, content, state_key=state_key)
        assert verdict(event, room.state) == expected, version.name


REDACTION_ROWS = [("$x:a.example", ALICE, OK), ("$x:b.example", BOB, OK), ("$x:a.example", BOB, "v2 11.3")]


@pytest.mark.parametrize(("target", "sender", "expected"), REDACTION_ROWS)
def test_redaction_until_v2(target: str, sender: str, expected: str) -> None:
    for version in (V1, V2):
        room = RoomBuilder(version).public(ALICE)
        room.join(BOB)
        event = room.draft(sender, "m.room.redaction", {})
        aimed = evolve(event, pdu={**event.pdu, "redacts": target})
        assert verdict(aimed, room.state) == expected


FEDERATE_ROWS = [(False, BOB, "v12 4"), (False, ALICE, OK), (True, BOB, OK), ("false", BOB, OK)]


@pytest.mark.parametrize(("federate", "sender", "expected"), FEDERATE_ROWS)
def test_federation(federate: Any, sender: str, expected: str) -> None:
    for version in ALL:
        room = RoomBuilder(version).created_by(ALICE, **{"m.federate": federate})
        room.join(BOB)
        assert verdict(room.draft(sender, "m.room.message", {}), room.state) == expected


ROOM_RULE = "v12 2"


def test_a_room_needs_its_create_event() -> None:
    for version in ALL:
        room = RoomBuilder(version).public(ALICE)
        event = room.draft(ALICE, "m.room.message", {})
        assert verdict(event, {}) == ROOM_RULE
        elsewhere = evolve(event, room_id="!elsewhere:a.example")
        assert verdict(elsewhere, room.state) == ROOM_RULE


# The event's own list of auth events

AUTH_EVENT_RULES = ["v12 3.1", "v12 3.2", "v12 3.3", "v12 3.5", "v11 2.4"]


def by_auth_events(event: Event, auth_events: list[Event], *, rejected: Any = (), create: Any = None) -> str:
    try:
        check_auth_events(event, auth_events, rejected=rejected, create=create)
    except Rejected as refusal:
        return short(refusal.rule)
    return OK


def named_by(room: RoomBuilder, event: Event) -> list[Event]:
    return [room.events[event_id] for event_id in event.auth_events]


@pytest.mark.parametrize("version", ALL, ids=lambda version: f"v{version.name}")
def test_auth_events(version: RoomVersion) -> None:
    room = RoomBuilder(version).public(ALICE)
    create = room.state["m.room.create", ""]
    event = room.draft(ALICE, "m.room.message", {})
    named = named_by(room, event)
    topic = room.topic(ALICE, "of no import")
    other = room.power_levels(ALICE, {})
    assert by_auth_events(event, named, create=create) == OK
    assert by_auth_events(event, [*named, other], create=create) == "v12 3.1"
    assert by_auth_events(event, [*named, topic], create=create) == "v12 3.2"
    message = room.message(ALICE)
    assert by_auth_events(event, [*named, message], create=create) == "v12 3.2"
    assert by_auth_events(event, named, rejected={named[0].event_id}, create=create) == "v12 3.3"
    stranger = evolve(named[0], room_id="!elsewhere:a.example")
    assert by_auth_events(event, [stranger, *named[1:]], create=create) == "v12 3.5"


def test_the_create_event_among_the_auth_events() -> None:
    """It must be there until v11, and must not since v12, where the room id implies it."""
    for version in ALL:
        room = RoomBuilder(version).public(ALICE)
        create = room.state["m.room.create", ""]
        event = room.draft(ALICE, "m.room.message", {})
        rest = [auth for auth in named_by(room, event) if auth is not create]
        without = by_auth_events(event, rest, create=create)
        together = by_auth_events(event, [*rest, create], create=create)
        expected = (OK, "v12 3.2") if version.room_id_is_create_hash else ("v11 2.4", OK)
        assert (without, together) == expected, version.name


def test_the_room_id_names_an_accepted_create_event() -> None:
    room = RoomBuilder(V12).public(ALICE)
    create = room.state["m.room.create", ""]
    event = room.draft(ALICE, "m.room.message", {})
    named = named_by(room, event)
    assert by_auth_events(event, named, create=None) == ROOM_RULE
    assert by_auth_events(event, named, create=create, rejected={create.event_id}) == ROOM_RULE
    assert by_auth_events(event, named, create=room.message(ALICE)) == ROOM_RULE


def test_the_auth_events_make_a_state() -> None:
    for version in (V11, V12):
        room = RoomBuilder(version).public(ALICE)
        event = room.draft(ALICE, "m.room.message", {}, links=Links())
        create = room.state["m.room.create", ""]
        state = check_auth_events(event, named_by(room, event), rejected=(), create=create)
        assert state.create is create
        assert set(state.events) == {
            ("m.room.create", ""),
            ("m.room.power_levels", ""),
            ("m.room.member", ALICE),
        }
