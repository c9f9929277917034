"""Filters: what they keep, and what is none."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.errors import MatrixError
from homeserver.core.event import event_from_pdu
from homeserver.core.filters import (
    EventFilter,
    RoomEventFilter,
    SyncFilter,
    parse_room_event_filter,
    parse_sync_filter,
)
from homeserver.core.room_versions import V12

ALICE, BOB, ROOM = "@alice:a.example", "@bob:b.example", "!room:a.example"


def event(kind="m.room.message", sender=ALICE, content=None):
    pdu = {
        "type": kind,
        "sender": sender,
        "room_id": ROOM,
        "content": content or {},
        "origin_server_ts": 1,
        "depth": 1,
        "prev_events": [],
        "auth_events": [],
    }
    return event_from_pdu(pdu, "$e", V12)


@pytest.mark.parametrize(
    ("definition", "kept"),
    [
        ({}, True),
        ({"types": ["m.room.message"]}, True),
        ({"types": ["m.room.*"]}, True),
        ({"types": ["*"]}, True),
        ({"types": ["*.mess*e"]}, True),
        ({"types": ["m.room"]}, False),
        ({"types": []}, False),  # a list that names nothing includes nothing
        ({"not_types": []}, True),
        ({"not_types": ["m.*"]}, False),
        ({"types": ["m.room.message"], "not_types": ["m.room.message"]}, False),  # excluding wins
        ({"senders": [ALICE]}, True),
        ({"senders": [BOB]}, False),
        ({"senders": []}, False),
        ({"senders": [ALICE], "not_senders": [ALICE]}, False),
        ({"senders": ["@*"]}, False),  # no wildcards in senders
        ({"rooms": [ROOM]}, True),
        ({"rooms": ["!other:a.example"]}, False),
        ({"not_rooms": [ROOM]}, False),
        ({"contains_url": False}, True),
        ({"contains_url": True}, False),
        ({"types": None, "limit": None, "rooms": None}, True),
    ],
)
def test_events(definition, kept):
    assert parse_room_event_filter(definition).keeps(event()) is kept


def test_urls():
    with_url = event(content={"url": "mxc://a/b"})
    assert parse_room_event_filter({"contains_url": True}).keeps(with_url)
    assert not parse_room_event_filter({"contains_url": False}).keeps(with_url)
    assert parse_room_event_filter({"contains_url": False}).keeps(event(content={"url": 7}))


def test_what_has_no_sender_is_judged_by_its_type():
    only = parse_sync_filter({"presence": {"senders": [ALICE], "types": ["m.presence"]}}).presence
    assert only.keeps("m.presence")
    assert not only.keeps("m.presence", BOB)
    assert not only.keeps("m.typing")


def test_everything():
    assert parse_sync_filter({}) == SyncFilter()
    assert parse_room_event_filter({"limit": 5}).keeps_everything
    assert not parse_room_event_filter({"not_types": ["x"]}).keeps_everything
    assert not parse_room_event_filter({"related_by_rel_types": ["m.thread"]}).keeps_everything


def test_a_whole_filter():
    parsed = parse_sync_filter(
        {
            "room": {
                "rooms": [ROOM],
                "include_leave": True,
                "state": {"lazy_load_members": True, "include_redundant_members": True},
                "timeline": {"limit": 3, "unread_thread_notifications": True},
                "ephemeral": {"not_types": ["m.typing"]},
            },
            "account_data": {"types": []},
            "event_fields": ["type", "content.body"],
            "event_format": "federation",
        }
    )
    assert parsed.room.include_leave
    assert parsed.room.rooms.keeps(ROOM)
    assert (parsed.room.state.members.lazy, parsed.room.state.members.redundant) == (True, True)
    assert (parsed.room.timeline.limit, parsed.room.timeline.threads) == (3, True)
    assert not parsed.room.ephemeral.events.keeps("m.typing")
    assert not parsed.account_data.keeps("m.direct")
    assert parsed.event_fields == ("type", "content.body")
    assert parsed.federation_format
    assert hash(parsed) == hash(parsed)


@pytest.mark.parametrize(
    "definition",
    [
        {"room": 7},
        {"room": {"timeline": []}},
        {"room": {"timeline": {"limit": "5"}}},
        {"room": {"timeline": {"limit": True}}},
        {"room": {"timeline": {"limit": 1.5}}},
        {"room": {"timeline": {"limit": -1}}},
        {"room": {"timeline": {"types": "m.room.message"}}},
        {"room": {"state": {"types": [7]}}},
        {"room": {"state": {"lazy_load_members": "yes"}}},
        {"room": {"rooms": {}}},
        {"account_data": "Hello"},
        {"presence": {"senders": [None]}},
        {"room": {"timeline": {"senders": ["alice"]}}},
        {"room": {"timeline": {"not_senders": ["*"]}}},
        {"room": {"timeline": {"rooms": ["#alias:a.example"]}}},
        {"room": {"not_rooms": ["room"]}},
        {"event_fields": "type"},
        {"event_format": "xml"},
        {"event_format": 7},
        {"room": {"timeline": {"types": ["x"] * 10_001}}},
    ],
)
def test_what_is_no_filter(definition):
    with pytest.raises(MatrixError, match="M_BAD_JSON"):
        parse_sync_filter(definition)


_NAMES = st.sampled_from(
    "room account_data presence timeline state ephemeral limit types not_types senders rooms contains_url".split()
)
_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
_JSON = st.recursive(
    _VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4)
)


@given(st.dictionaries(_NAMES, _JSON, max_size=5))
def test_parsing_ends_in_a_filter_or_in_its_own_error(definition):
    with suppress(MatrixError):
        assert isinstance(parse_sync_filter(definition), SyncFilter)
    with suppress(MatrixError):
        assert isinstance(parse_room_event_filter(definition), RoomEventFilter)


def test_values_are_equal_where_definitions_are():
    assert parse_sync_filter({"presence": {"types": ["a", "a*"]}}) == parse_sync_filter(
        {"presence": {"types": ["a", "a*", "a"]}}
    )
    assert EventFilter() == parse_sync_filter({}).presence
