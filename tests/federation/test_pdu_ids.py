"""The ids under which refused PDUs are answered."""

import pytest

from federation.protocol.pdu_ids import ALL_VERSIONS, possible_ids
from homeserver.core.room_versions import ROOM_VERSIONS, RoomVersion
from tests.federation.receiving import open_room
from tests.kit.remote_room import pdu_bytes


@pytest.mark.parametrize("version", ROOM_VERSIONS.values(), ids=lambda version: f"v{version.name}")
def test_the_true_id_is_among_them(version: RoomVersion) -> None:
    room = open_room(version)
    for event in room.events.values():
        assert event.event_id in possible_ids(pdu_bytes(event), ALL_VERSIONS)
        assert possible_ids(pdu_bytes(event), [version]) == [event.event_id]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        b'{"type":7}',
        b'{"type":[],"event_id":"$a:b"}',
        b'{"type":"m.room.member","content":7,"event_id":7,"depth":1e999}',
        b'{"type":"x","content":' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"type":"m.room.member","content":{"third_party_invite":7},"signatures":7}',
    ],
)
def test_what_is_no_event_harms_nobody(text: bytes) -> None:
    assert all(isinstance(found, str) for found in possible_ids(text, ALL_VERSIONS))
