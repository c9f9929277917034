"""What is an event of which room version, and what size it may have [rooms "Event format"]."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from homeserver.core.canonical_json import MAX_INTEGER, Unparsed
from homeserver.core.event_format import EventTooLarge, InvalidEvent, check_format, parse_pdu, receive_pdu
from homeserver.core.hashing import canonical_bytes
from homeserver.core.room_versions import ROOM_VERSIONS, V1, V3, V5, V6, V11, V12, RoomVersion
from tests.kit.json_values import any_values
from tests.kit.verdicts import ALL, since, until

HASH = "A" * 43
LINK = [["$l:a.example", {"sha256": HASH}]]


def pdu(version: RoomVersion, **changes: Any) -> dict[str, Any]:
    """A sound event of `version`; a change to ... takes the field out."""
    old = version.event_id_in_pdu
    sound: dict[str, Any] = {
        "type": "m.room.message",
        "sender": "@alice:a.example",
        "room_id": f"!{HASH}" if version.room_id_is_create_hash else "!room:a.example",
        "content": {"body": "hello"},
        "origin_server_ts": 1_700_000_000_000,
        "depth": 7,
        "hashes": {"sha256": HASH},
        "signatures": {"a.example": {"ed25519:1": "A" * 86}},
        "prev_events": LINK if old else [f"${HASH}"],
        "auth_events": [],
    }
    if old:
        sound["event_id"] = "$e:a.example"
    return {key: value for key, value in {**sound, **changes}.items() if value is not ...}


def test_sound_events() -> None:
    for version in ALL:
        event = parse_pdu(pdu(version, unsigned={"age": 1}, state_key="", extra=[None, True]), version)
        assert (event.room_id, event.depth, event.key) == (pdu(version)["room_id"], 7, ("m.room.message", ""))
        assert event.event_id == "$e:a.example" or not version.event_id_in_pdu
        assert "unsigned" not in event.pdu


REQUIRED = ["type", "sender", "room_id", "content", "origin_server_ts", "depth", "hashes", "signatures"]
REQUIRED += ["prev_events", "auth_events"]
UNSOUND: list[tuple[tuple[RoomVersion, ...], dict[str, Any]]] = [
    *((ALL, {field: ...}) for field in REQUIRED),
    *((ALL, {field: None}) for field in [*REQUIRED, "state_key"]),
    *((ALL, {field: 5}) for field in REQUIRED if field not in ("depth", "origin_server_ts")),
    (ALL, {"state_key": 0}),
    (ALL, {"state_key": "\x00"}),
    (ALL, {"type": "m.\x00"}),
    (ALL, {"sender": "alice"}),
    (ALL, {"sender": "@alice"}),
    (ALL, {"sender": "@ali\x00ce:a.example"}),
    (ALL, {"room_id": "room"}),
    (ALL, {"depth": -1}),
    (ALL, {"depth": True}),
    (ALL, {"depth": "7"}),
    (ALL, {"depth": 2**63}),
    (since(6), {"depth": MAX_INTEGER + 1}),
    (ALL, {"depth": 7.0}),
    (ALL, {"origin_server_ts": 2**63}),
    (ALL, {"origin_server_ts": 1.5}),
    (ALL, {"signatures": {"a.example": "signature"}}),
    (ALL, {"signatures": {"a.example": {"ed25519:1": None}}}),
    (ALL, {"prev_events": {}}),
    (ALL, {"prev_events": [5]}),
    (ALL, {"prev_events": ["x"]}),
    (ALL, {"prev_events": [["$l:a.example"]]}),
    (until(2), {"prev_events": ["$l:a.example"]}),
    (since(3), {"prev_events": LINK}),
    (until(2), {"event_id": ...}),
    (until(2), {"event_id": "e"}),
    (since(12), {"room_id": "!room:a.example"}),
    (since(6), {"content": {"n": 1.5}}),
    (since(6), {"content": {"n": MAX_INTEGER + 1}}),
    (ALL, {"content": {"n": "\ud800"}}),
    (ALL, {"content": {"n": float("nan")}}),
]


@pytest.mark.parametrize(("versions", "changes"), UNSOUND, ids=str)
def test_unsound_events(versions: tuple[RoomVersion, ...], changes: dict[str, Any]) -> None:
    for version in versions:
        with pytest.raises(InvalidEvent):
            parse_pdu(pdu(version, **changes), version)


SOUND_IN = [
    (until(5), {"content": {"n": 1.5, "m": 10**40}}),
    (until(5), {"depth": 2**63 - 1}),
    (since(6), {"depth": MAX_INTEGER}),
    (ALL, {"sender": "@:a.example"}),  # historical user ids
    (ALL, {"sender": "@A lice/é:a.example"}),
    (since(12), {"type": "m.room.create", "room_id": ...}),
]


@pytest.mark.parametrize(("versions", "changes"), SOUND_IN, ids=str)
def test_what_some_versions_allow(versions: tuple[RoomVersion, ...], changes: dict[str, Any]) -> None:
    for version in versions:
        check_format(pdu(version, **changes), version)


def links(version: RoomVersion, count: int) -> list[Any]:
    return (LINK if version.event_id_in_pdu else [f"${HASH}"]) * count


@pytest.mark.parametrize(("field", "most"), [("prev_events", 20), ("auth_events", 10)])
def test_numbers_of_links(field: str, most: int) -> None:
    for version in (V1, V3, V12):
        check_format(pdu(version, **{field: links(version, most)}), version)
        with pytest.raises(InvalidEvent):
            check_format(pdu(version, **{field: links(version, most + 1)}), version)


LIMITS = [("type", "", "t"), ("state_key", "", "k"), ("sender", "@", ":a.example"), ("type", "", "é")]


@pytest.mark.parametrize(("field", "head", "tail"), LIMITS)
def test_fields_have_255_bytes(field: str, head: str, tail: str) -> None:
    room = 255 - len((head + tail).encode())
    for version in (V1, V6, V12):
        check_format(pdu(version, **{field: head + "x" * room + tail}), version)
        with pytest.raises(EventTooLarge) as caught:
            check_format(pdu(version, **{field: head + "x" * (room + 1) + tail}), version)
        assert caught.value.field == field


def test_events_have_65536_bytes() -> None:
    for version in (V5, V6, V11):
        empty = pdu(version, content={"body": ""}, unsigned={})
        room = 65536 - len(canonical_bytes(empty, version))
        check_format({**empty, "content": {"body": "x" * room}}, version)
        with pytest.raises(EventTooLarge) as caught:
            check_format({**empty, "content": {"body": "x" * (room + 1)}}, version)
        assert caught.value.field == "event"


def test_deep_nesting_is_refused() -> None:
    nested: Any = []
    for _ in range(5000):
        nested = [nested]
    for version in (V1, V12):
        with pytest.raises(InvalidEvent):
            check_format(pdu(version, content={"n": nested}), version)


fields = st.sampled_from([*REQUIRED, "state_key", "event_id", "unsigned", "redacts"])


@settings(max_examples=150)
@given(st.sampled_from(list(ROOM_VERSIONS.values())), st.dictionaries(fields, any_values, max_size=3))
@example(V1, {"signatures": {"": []}})
def test_parsing_raises_only_its_own_error(version: RoomVersion, changes: dict[str, Any]) -> None:
    try:
        event = parse_pdu(pdu(version, **changes), version)
    except InvalidEvent:
        return
    assert event.redacts is None or isinstance(event.redacts, str)


def outcome(value: Any, version: RoomVersion) -> object:
    try:
        received = receive_pdu(value, version)
    except InvalidEvent as invalid:
        return type(invalid)
    return received.event.event_id, received.event.pdu, received.json, received.covered


@settings(max_examples=150)
@given(st.sampled_from(list(ROOM_VERSIONS.values())), st.dictionaries(fields, any_values, max_size=3))
def test_unparsed_events_are_the_same(version: RoomVersion, changes: dict[str, Any]) -> None:
    """The standard library writes what nobody else does: blanks, escapes, and keys as they come."""
    text = json.dumps(pdu(version, **changes)).encode()
    assert outcome(Unparsed(text), version) == outcome(json.loads(text), version)


@pytest.mark.parametrize("text", [b"null", b"[]", b'{"a":', b"\xff", b'{"a":1.5}'])
def test_unparsed_text_that_is_no_event(text: bytes) -> None:
    for version in (V1, V12):
        with pytest.raises(InvalidEvent):
            receive_pdu(Unparsed(text), version)


def test_unparsed_events_have_limits() -> None:
    """What fills 65536 bytes only in a roundabout way is not too large; what fills a megabyte is not even parsed."""
    text = json.dumps(pdu(V12, content={"body": "x" * 60_000})).encode()
    escaped = text.replace(b"x", b"\\u0078")
    assert receive_pdu(Unparsed(escaped), V12).event.content == {"body": "x" * 60_000}
    for version in (V1, V12):
        with pytest.raises(EventTooLarge):
            receive_pdu(Unparsed(b"[" * 2**21), version)


@given(any_values)
def test_nothing_else_is_an_event(value: Any) -> None:
    with pytest.raises(InvalidEvent):
        parse_pdu(value, V12)
