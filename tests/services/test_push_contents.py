"""What a push may say of a room that we are not in: what came with the invite."""

import orjson

from homeserver.services.push_contents import told_with
from storage.memberships import LocalMembership


def test_contents_of_the_stripped_state() -> None:
    name = {"type": "m.room.name", "state_key": "", "content": {"name": "Bridge"}, "sender": "@a:b"}
    odd = [{"type": [], "state_key": "", "content": {}}, {"type": "x", "content": {}}, {**name, "content": 1}]
    told = orjson.dumps([name, *odd]).decode()
    assert told_with(LocalMembership(1, 2, 3, 4, False, told)) == {("m.room.name", ""): {"name": "Bridge"}}
    assert told_with(LocalMembership(1, 2, 3, 4, False, None)) == told_with(None) == {}
