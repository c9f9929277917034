"""The simulated peer itself: two of them enter each other's rooms in every version, as servers do."""

import pytest
from signedjson.key import get_verify_key

from homeserver.core.auth.rules import check_auth
from homeserver.core.auth.state import AuthState
from homeserver.core.event_format import check_format
from homeserver.core.hashing import content_hash_holds
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.core.signing import signature_holds

VERSIONS = pytest.mark.parametrize("version", ROOM_VERSIONS.values(), ids=ROOM_VERSIONS)


@VERSIONS
async def test_two_peers_share_a_room(peers, version):
    here, there = await peers(), await peers()
    room = here.found(version)
    joined = await there.join(here.name, room.room_id, there.alice)
    said = await there.say(here.name, joined, there.alice, "hello")
    assert (await here.heard(said.event_id)).content["body"] == "hello"
    back = await here.say(there.name, room, here.alice, "welcome")
    assert (await there.heard(back.event_id)).prev_events == (said.event_id,)
    assert joined.current() == room.current()
    await there.leave(here.name, joined, there.alice)
    assert joined.current() == room.current()


@VERSIONS
async def test_its_events_are_valid(peer, version):
    room = peer.found(version)
    room.message(peer.alice)
    for event in room.events.values():
        check_format(event.pdu, version)
        assert content_hash_holds(event.pdu, version)
        assert signature_holds(event.pdu, peer.name, get_verify_key(peer.key), version)
        before = {key: room.events[each] for key, each in room.record.state_before[event.event_id].items()}
        check_auth(event, AuthState(before, version))


async def test_an_invite_is_signed_by_both(peers):
    here, there = await peers(), await peers()
    room = here.found(ROOM_VERSIONS["12"])
    invite = await here.invite(there.name, room, here.alice, there.alice)
    assert set(invite.pdu["signatures"]) == {here.name, there.name}
    assert there.invites[0]["room_version"] == "12"


async def test_answers_can_be_replaced(peers):
    here, there = await peers(), await peers()
    here.on("GET", "/_matrix/federation/v1/event/{eventId}", {"errcode": "M_FORBIDDEN"}, status=403)
    answer = await there.request("GET", here.name, "/_matrix/federation/v1/event/$a")
    assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")
    assert here.seen("GET", "/v1/event")[0].parameters == {"eventId": "$a"}
    assert here.seen("GET", "/v1/event")[0].origin == there.name
