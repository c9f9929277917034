"""Other servers enter our rooms, in every version, and nobody enters who may not."""

import pytest

from homeserver.core.room_versions import ROOM_VERSIONS
from tests.kit.remote_room import RemoteRoom
from tests.kit.server import segment
from tests.kit.versions import ALL, RESTRICTED, in_each

MADE = "/_matrix/federation/v1/make_join/"
SENT = "/_matrix/federation/v2/send_join/"


def make(room_id, user):
    return f"{MADE}{segment(room_id)}/{segment(user)}"


def sent(room_id, event_id):
    return f"{SENT}{segment(room_id)}/{segment(event_id)}"


async def founded(homing, version="12", **options):
    """A user of ours and the id of a public room of theirs."""
    alice = await homing.register()
    body = {"preset": "public_chat", "room_version": version, **options}
    return alice, (await alice.post("/v3/createRoom", body))["room_id"]


async def begun(homing, peer, room_id, user, **content):
    """A join of the peer's user as make_join gives it, finished, with the peer's room for it."""
    made = await peer.ask("GET", homing.name, make(room_id, user), ver=list(ROOM_VERSIONS))
    version = ROOM_VERSIONS[made["room_version"]]
    room = RemoteRoom(version, room_id=room_id, keys={peer.name: peer.key})
    return room, peer.finish(room, made["event"], **content)


async def refusal(peer, homing, method, path, body=None, **query):
    answer = await peer.request(method, homing.name, path, body, **query)
    assert answer.status >= 400
    return answer.status, answer.errcode


async def test_enters_and_both_see_it(homing, peer):
    async def story(version):
        alice, room_id = await founded(homing, version.name)
        room = await peer.join(homing.name, room_id, peer.alice)
        members = (await alice.get(f"/v3/rooms/{segment(room_id)}/joined_members"))["joined"]
        assert peer.alice in members
        state = {event["type"] for event in await alice.get(f"/v3/rooms/{segment(room_id)}/state")}
        assert {key[0] for key in room.current()} == state

    await in_each(ALL, story)


async def test_the_answer_is_complete(homing, peer):
    _, room_id = await founded(homing, "11")
    room, join = await begun(homing, peer, room_id, peer.alice)
    said = await peer.ask("PUT", homing.name, sent(room_id, join.event_id), dict(join.pdu))
    chain = {room.finished(pdu).event_id for pdu in said["auth_chain"]}
    state = [room.finished(pdu) for pdu in said["state"]]
    cited = {link for event in (*state, join) for link in event.auth_events}
    assert cited <= chain
    assert ("m.room.member", peer.alice) not in {event.key for event in state}
    assert said["event"]["content"]["membership"] == "join"
    assert said["members_omitted"] is False
    assert homing.name in said["servers_in_room"]


async def test_a_repeated_join_has_the_same_answer(homing, peer):
    _, room_id = await founded(homing)
    _, join = await begun(homing, peer, room_id, peer.alice)
    first = await peer.ask("PUT", homing.name, sent(room_id, join.event_id), dict(join.pdu))
    again = await peer.ask("PUT", homing.name, sent(room_id, join.event_id), dict(join.pdu))
    assert first == again


async def test_the_first_version_answers_with_a_list(homing, peer):
    _, room_id = await founded(homing, "2")
    _, join = await begun(homing, peer, room_id, peer.alice)
    path = sent(room_id, join.event_id).replace("/v2/", "/v1/")
    status, said = await peer.ask("PUT", homing.name, path, dict(join.pdu))
    assert status == 200
    assert said["state"]
    assert said["auth_chain"]


async def test_members_can_be_left_out(homing, peer):
    _alice, room_id = await founded(homing, name="a name")
    bob = await homing.register()
    await bob.post(f"/v3/join/{segment(room_id)}")
    room, join = await begun(homing, peer, room_id, peer.alice)
    path = sent(room_id, join.event_id)
    said = await peer.ask("PUT", homing.name, path, dict(join.pdu), omit_members="true")
    state = [room.finished(pdu) for pdu in said["state"]]
    assert said["members_omitted"] is True
    assert not [event for event in state if event.type == "m.room.member"]
    chain = {room.finished(pdu).event_id for pdu in said["auth_chain"]}
    assert chain.isdisjoint(event.event_id for event in state)
    assert set(join.auth_events) <= chain | {event.event_id for event in state}


async def test_heroes_stay_in_a_room_without_a_name(homing, peer):
    alice, room_id = await founded(homing)
    _room, join = await begun(homing, peer, room_id, peer.alice)
    path = sent(room_id, join.event_id)
    said = await peer.ask("PUT", homing.name, path, dict(join.pdu), omit_members="true")
    members = [pdu["state_key"] for pdu in said["state"] if pdu["type"] == "m.room.member"]
    assert members == [alice.user_id]


async def test_make_join_is_refused(homing, peer):
    alice, room_id = await founded(homing, "10")
    unknown = "!nowhere:example.org"
    assert await refusal(peer, homing, "GET", make(unknown, peer.alice), ver="10") == (404, "M_NOT_FOUND")
    assert await refusal(peer, homing, "GET", make(room_id, alice.user_id), ver="10") == (403, "M_FORBIDDEN")
    assert await refusal(peer, homing, "GET", make(room_id, "nobody"), ver="10") == (400, "M_INVALID_PARAM")
    wrong = await peer.request("GET", homing.name, make(room_id, peer.alice), ver=["1", "9"])
    assert (wrong.status, wrong.errcode) == (400, "M_INCOMPATIBLE_ROOM_VERSION")
    assert wrong.json["room_version"] == "10"
    assert (await peer.request("GET", homing.name, make(room_id, peer.alice))).errcode == (
        "M_INCOMPATIBLE_ROOM_VERSION"
    )
    await alice.post(f"/v3/rooms/{segment(room_id)}/ban", {"user_id": peer.alice})
    assert await refusal(peer, homing, "GET", make(room_id, peer.alice), ver="10") == (403, "M_FORBIDDEN")
    await alice.post(f"/v3/rooms/{segment(room_id)}/leave")
    assert await refusal(peer, homing, "GET", make(room_id, peer.alice), ver="10") == (404, "M_NOT_FOUND")


async def test_the_access_control_list_holds(homing, peer):
    alice, room_id = await founded(homing)
    _room, join = await begun(homing, peer, room_id, peer.alice)
    host = peer.name.partition(":")[0]
    acl = {"allow": ["*"], "deny": [host], "allow_ip_literals": True}
    await alice.put(f"/v3/rooms/{segment(room_id)}/state/m.room.server_acl/", acl)
    assert await refusal(peer, homing, "GET", make(room_id, peer.alice), ver="12") == (403, "M_FORBIDDEN")
    path = sent(room_id, join.event_id)
    assert await refusal(peer, homing, "PUT", path, dict(join.pdu)) == (403, "M_FORBIDDEN")


async def test_a_private_room_stays_closed(homing, peer):
    _, room_id = await founded(homing, preset="private_chat")
    assert await refusal(peer, homing, "GET", make(room_id, peer.alice), ver="12") == (403, "M_FORBIDDEN")


CHANGES = {
    "another type": {"type": "m.room.message"},
    "another membership": {"content": {"membership": "leave"}},
    "another state key": {"state_key": "@other:example.org"},
    "no event": {"auth_events": "none"},
    "a foreign sender": {"sender": "@other:example.org", "state_key": "@other:example.org"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_send_join_takes_only_joins(homing, peer, change):
    _, room_id = await founded(homing, "10")
    room, join = await begun(homing, peer, room_id, peer.alice)
    event = {**join.pdu, **change}
    if "auth_events" not in change:
        event = dict(room.finish_pdu({k: v for k, v in event.items() if k != "hashes"}).pdu)
        event_id = room.finished(event).event_id
    else:
        event_id = join.event_id
    path = sent(room_id, event_id)
    refused = (403, "M_FORBIDDEN") if "sender" in change else (400, "M_INVALID_PARAM")
    assert await refusal(peer, homing, "PUT", path, event) == refused


async def test_send_join_checks_ids_and_signatures(homing, peer):
    _, room_id = await founded(homing, "10")
    _, join = await begun(homing, peer, room_id, peer.alice)
    assert (await refusal(peer, homing, "PUT", sent(room_id, "$other"), dict(join.pdu)))[
        1
    ] == "M_INVALID_PARAM"
    unsigned = {**join.pdu, "signatures": {}}
    path = sent(room_id, join.event_id)
    assert await refusal(peer, homing, "PUT", path, unsigned) == (403, "M_FORBIDDEN")
    for bare in ("hashes", "signatures"):
        less = {name: value for name, value in join.pdu.items() if name != bare}
        assert await refusal(peer, homing, "PUT", path, less) == (403, "M_FORBIDDEN")
    assert await refusal(peer, homing, "PUT", path, {**join.pdu, "x": 1.5}) == (400, "M_BAD_JSON")
    _, other = await founded(homing, "10")
    assert (await refusal(peer, homing, "PUT", sent(other, join.event_id), dict(join.pdu)))[
        1
    ] == "M_INVALID_PARAM"
    assert (await refusal(peer, homing, "PUT", path, b"[]"))[0] == 400


async def test_a_ban_after_the_template_counts(homing, peer):
    alice, room_id = await founded(homing)
    _, join = await begun(homing, peer, room_id, peer.alice)
    await alice.post(f"/v3/rooms/{segment(room_id)}/ban", {"user_id": peer.alice})
    path = sent(room_id, join.event_id)
    assert await refusal(peer, homing, "PUT", path, dict(join.pdu)) == (403, "M_FORBIDDEN")


async def restricted_room(homing, version):
    """A user of ours, the room that opens another one, and that other one."""
    alice, allowed = await founded(homing, version)
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": allowed}]}
    body = {
        "preset": "private_chat",
        "room_version": version,
        "initial_state": [{"type": "m.room.join_rules", "state_key": "", "content": rule}],
    }
    return alice, allowed, (await alice.post("/v3/createRoom", body))["room_id"]


async def test_a_restricted_room_opens_to_members_of_another(homing, peer):
    async def story(version):
        alice, allowed, room_id = await restricted_room(homing, version.name)
        path = make(room_id, peer.alice)
        assert await refusal(peer, homing, "GET", path, ver=version.name) == (403, "M_FORBIDDEN")
        await peer.join(homing.name, allowed, peer.alice)
        _, join = await begun(homing, peer, room_id, peer.alice)
        assert join.content["join_authorised_via_users_server"] == alice.user_id
        said = await peer.ask("PUT", homing.name, sent(room_id, join.event_id), dict(join.pdu))
        assert set(said["event"]["signatures"]) == {peer.name, homing.name}
        members = (await alice.get(f"/v3/rooms/{segment(room_id)}/joined_members"))["joined"]
        assert peer.alice in members

    await in_each(RESTRICTED, story)


async def test_who_lost_the_condition_is_not_let_in(homing, peer):
    _alice, allowed, room_id = await restricted_room(homing, "10")
    other = await peer.join(homing.name, allowed, peer.alice)
    _, join = await begun(homing, peer, room_id, peer.alice)
    await peer.leave(homing.name, other, peer.alice)
    path = sent(room_id, join.event_id)
    assert await refusal(peer, homing, "PUT", path, dict(join.pdu)) == (403, "M_FORBIDDEN")


async def test_conditions_that_nobody_here_can_check(homing, peer):
    alice, room_id = await founded(homing, "10")
    elsewhere = [{"type": "m.room_membership", "room_id": "!elsewhere:example.org"}]
    rule = {"join_rule": "restricted", "allow": elsewhere}
    await alice.put(f"/v3/rooms/{segment(room_id)}/state/m.room.join_rules/", rule)
    assert await refusal(peer, homing, "GET", make(room_id, peer.alice), ver="10") == (
        400,
        "M_UNABLE_TO_AUTHORISE_JOIN",
    )
    await alice.put(f"/v3/rooms/{segment(room_id)}/state/m.room.join_rules/", {"join_rule": "restricted"})
    assert await refusal(peer, homing, "GET", make(room_id, peer.alice), ver="10") == (403, "M_FORBIDDEN")


async def test_nobody_here_may_grant_it(homing, peer):
    alice, allowed, room_id = await restricted_room(homing, "10")
    await peer.join(homing.name, allowed, peer.alice)
    levels = await alice.get(f"/v3/rooms/{segment(room_id)}/state/m.room.power_levels/")
    await alice.put(f"/v3/rooms/{segment(room_id)}/state/m.room.power_levels/", {**levels, "invite": 100})
    levels = await alice.get(f"/v3/rooms/{segment(room_id)}/state/m.room.power_levels/")
    lowered = {**levels, "users": {alice.user_id: 50}}
    await alice.put(f"/v3/rooms/{segment(room_id)}/state/m.room.power_levels/", lowered)
    assert await refusal(peer, homing, "GET", make(room_id, peer.alice), ver="10") == (
        400,
        "M_UNABLE_TO_GRANT_JOIN",
    )
