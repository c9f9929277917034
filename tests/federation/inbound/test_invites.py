"""Users of other servers invite ours, into rooms that we are in and into others."""

import pytest

from homeserver.app import config as options
from homeserver.core.room_versions import ROOM_VERSIONS
from tests.federation.inbound.test_joins import founded, refusal
from tests.kit.server import segment
from tests.kit.versions import ALL, in_each

V10, V12 = ROOM_VERSIONS["10"], ROOM_VERSIONS["12"]


def path_of(room, event, api="v2"):
    return f"/_matrix/federation/{api}/invite/{segment(room.room_id)}/{segment(event.event_id)}"


async def invited(client, room_id):
    """The stripped state of an invitation, from a full sync."""
    found = (await client.get("/v3/sync"))["rooms"]["invite"]
    return found[room_id]["invite_state"]["events"]


def invite(room, sender, user, **content):
    """An invite that is not part of the room yet."""
    return room.draft(sender, "m.room.member", {"membership": "invite", **content}, state_key=user)


async def test_an_invitation_is_signed_and_shown(homing, peer):
    async def story(version):
        bob = await homing.register()
        room = peer.found(version)
        room.send_state(peer.alice, "m.room.name", "", {"name": "far away"})
        event = await peer.invite(homing.name, room, peer.alice, bob.user_id)
        assert set(event.pdu["signatures"]) == {peer.name, homing.name}
        shown = await invited(bob, room.room_id)
        assert {"m.room.create", "m.room.name", "m.room.join_rules"} <= {one["type"] for one in shown}
        assert all(set(one) == {"type", "state_key", "sender", "content"} for one in shown)
        assert shown[-1]["state_key"] == bob.user_id
        assert shown[-1]["sender"] == peer.alice

    await in_each(ALL, story)


async def test_a_waiting_sync_hears_of_it(homing, peer):
    bob = await homing.register()
    since = (await bob.get("/v3/sync"))["next_batch"]
    room = peer.found(V12)
    await peer.invite(homing.name, room, peer.alice, bob.user_id)
    news = await bob.get("/v3/sync", since=since, timeout=10_000)
    assert room.room_id in news["rooms"]["invite"]


async def test_it_notifies_who_is_invited(homing, peer):
    bob = await homing.register()
    room = peer.found(V12)
    event = await peer.invite(homing.name, room, peer.alice, bob.user_id)
    (told,) = (await bob.get("/v3/notifications"))["notifications"]
    assert (told["room_id"], told["event"]["event_id"]) == (room.room_id, event.event_id)
    assert told["actions"] == ["notify", {"set_tweak": "sound", "value": "default"}]
    await bob.post(f"/v3/rooms/{segment(room.room_id)}/leave")
    assert (await bob.get("/v3/notifications"))["notifications"] == []


async def test_the_first_version_takes_old_rooms(homing, peer):
    bob = await homing.register()
    room = peer.found(ROOM_VERSIONS["2"])
    event = invite(room, peer.alice, bob.user_id)
    state = peer.invite_body(room, event)["invite_room_state"]
    body = {**event.pdu, "unsigned": {"invite_room_state": state}}
    status, said = await peer.ask("PUT", homing.name, path_of(room, event, "v1"), body)
    assert status == 200
    assert set(said["event"]["signatures"]) == {peer.name, homing.name}
    assert "m.room.create" in {one["type"] for one in await invited(bob, room.room_id)}


async def test_stripped_state_does_for_old_rooms(homing, peer):
    bob = await homing.register()
    room = peer.found(V10)
    event = invite(room, peer.alice, bob.user_id)
    name = {"type": "m.room.name", "state_key": "", "sender": peer.alice, "content": {"name": "a name"}}
    odd = [{"type": "m.room.topic"}, 7, None, {**name, "content": "none"}]
    body = {**peer.invite_body(room, event), "invite_room_state": [name, *odd]}
    await peer.ask("PUT", homing.name, path_of(room, event), body)
    assert [one["type"] for one in await invited(bob, room.room_id)] == ["m.room.name", "m.room.member"]


def without_create(state):
    return [one for one in state if one["type"] != "m.room.create"]


def forged(state):
    return [{**one, "content": {**one["content"], "forged": True}, "signatures": {}} for one in state]


def stripped(state):
    return [{name: one[name] for name in ("type", "state_key", "sender", "content")} for one in state]


@pytest.mark.parametrize("change", [without_create, forged, stripped, lambda state: state * 60])
async def test_rooms_since_version_12_must_prove_themselves(homing, peer, change):
    bob = await homing.register()
    room = peer.found(V12)
    event = invite(room, peer.alice, bob.user_id)
    body = peer.invite_body(room, event)
    body["invite_room_state"] = change(body["invite_room_state"])
    assert await refusal(peer, homing, "PUT", path_of(room, event), body) == (400, "M_INVALID_PARAM")


async def test_a_foreign_create_event_is_refused(homing, peer):
    bob = await homing.register()
    room, other = peer.found(V12), peer.found(V12, peer.user("zoe"))
    event = invite(room, peer.alice, bob.user_id)
    body = {
        **peer.invite_body(room, event),
        "invite_room_state": peer.invite_body(other, event)["invite_room_state"],
    }
    assert await refusal(peer, homing, "PUT", path_of(room, event), body) == (400, "M_INVALID_PARAM")
    del body["invite_room_state"]
    assert await refusal(peer, homing, "PUT", path_of(room, event), body) == (400, "M_MISSING_PARAM")


async def test_what_is_refused(homing, peer):
    bob = await homing.register()
    room = peer.found(V10)
    event = invite(room, peer.alice, bob.user_id)
    body, path = peer.invite_body(room, event), path_of(room, event)

    async def answer(body, path=path):
        return await refusal(peer, homing, "PUT", path, body)

    assert await answer({**body, "room_version": "unheard of"}) == (400, "M_INCOMPATIBLE_ROOM_VERSION")
    assert (await answer({name: value for name, value in body.items() if name != "room_version"}))[0] == 400
    assert await answer({**body, "event": {**event.pdu, "signatures": {}}}) == (403, "M_FORBIDDEN")
    assert await answer({**body, "event": {}}) == (403, "M_FORBIDDEN")
    assert await answer({**body, "event": {**event.pdu, "x": 1.5}}) == (400, "M_BAD_JSON")
    assert await answer(body, path_of(peer.found(V10), event)) == (400, "M_INVALID_PARAM")
    for wrong in (
        invite(room, "@mallory:example.org", bob.user_id),
        room.draft(peer.alice, "m.room.member", {"membership": "join"}, state_key=bob.user_id),
        room.draft(peer.alice, "m.room.topic", {"membership": "invite"}, state_key=""),
        invite(room, peer.alice, "@bob:example.org"),
    ):
        wrong_body = {**body, "event": dict(wrong.pdu)}
        refused = (400, "M_INVALID_PARAM") if wrong.sender == peer.alice else (403, "M_FORBIDDEN")
        assert await answer(wrong_body, path_of(room, wrong)) == refused
    stranger = invite(room, peer.alice, f"@nobody:{homing.name}")
    stranger_body = {**body, "event": dict(stranger.pdu)}
    assert await answer(stranger_body, path_of(room, stranger)) == (403, "M_FORBIDDEN")
    assert "rooms" not in await bob.get("/v3/sync")


async def test_into_a_room_that_we_are_in(homing, peer):
    _, room_id = await founded(homing, power_level_content_override={"invite": 0})
    bob = await homing.register()
    room = await peer.join(homing.name, room_id, peer.alice)
    await peer.invite(homing.name, room, peer.alice, bob.user_id)
    shown = await invited(bob, room_id)
    assert shown[-1]["sender"] == peer.alice
    await bob.post(f"/v3/join/{segment(room_id)}")


async def test_who_registers_later_finds_the_invitations_of_rooms_that_we_are_in(homing, peer):
    """As our own users may invite before there is an account."""
    _, room_id = await founded(homing, power_level_content_override={"invite": 0})
    room = await peer.join(homing.name, room_id, peer.alice)
    await peer.invite(homing.name, room, peer.alice, f"@later:{homing.name}")
    later = await homing.register("later")
    assert (await invited(later, room_id))[-1]["sender"] == peer.alice
    await later.post(f"/v3/join/{segment(room_id)}")


async def test_who_has_gone_is_not_invited(homing, peer):
    _, room_id = await founded(homing, power_level_content_override={"invite": 0})
    bob = await homing.register("bob", password="longenough")
    auth = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "bob"}}
    await bob.post("/v3/account/deactivate", {"auth": {**auth, "password": "longenough"}})
    room = await peer.join(homing.name, room_id, peer.alice)
    event = invite(room, peer.alice, bob.user_id)
    body = peer.invite_body(room, event)
    assert await refusal(peer, homing, "PUT", path_of(room, event), body) == (403, "M_FORBIDDEN")


async def test_the_rooms_rules_count_where_we_are_in_it(homing, peer):
    alice, room_id = await founded(homing)
    bob = await homing.register()
    room = await peer.join(homing.name, room_id, peer.alice)
    await alice.post(f"/v3/rooms/{segment(room_id)}/ban", {"user_id": bob.user_id})
    event = invite(room, peer.alice, bob.user_id)
    body = peer.invite_body(room, event)
    assert await refusal(peer, homing, "PUT", path_of(room, event), body) == (403, "M_FORBIDDEN")


async def test_it_can_be_withdrawn(homing, peer):
    bob = await homing.register()
    room = peer.found(V12)
    await peer.invite(homing.name, room, peer.alice, bob.user_id)
    since = (await bob.get("/v3/sync"))["next_batch"]
    stray = room.fork()
    stray.member("@mallory:example.org", bob.user_id, "leave")
    kick = room.kick(peer.alice, bob.user_id)
    assert (await peer.send(homing.name, [stray.last]))[stray.last.event_id].get("error")
    assert (await peer.send(homing.name, [kick]))[kick.event_id] == {}
    news = await bob.get("/v3/sync", since=since)
    assert room.room_id in news["rooms"]["leave"]
    assert "rooms" not in await bob.get("/v3/sync")


async def test_whom_policy_lists_ban_invites_nobody(homings, peer):
    """The list is a room of the other server; who reads it bans that server by it."""
    listed, room = peer.found(V10), peer.found(V10)
    listed.join_rules(peer.alice, "public")
    listed.send_state(
        peer.alice, "m.policy.rule.server", "x", {"entity": f"{peer.name[:-1]}?", "recommendation": "m.ban"}
    )
    [homing] = await homings(1, rooms=options.Rooms(policy_rooms=[listed.room_id]))
    bob = await homing.register()
    event = invite(room, peer.alice, bob.user_id)
    await bob.post(f"/v3/join/{segment(listed.room_id)}", {}, via=peer.name)
    answer = await peer.request("PUT", homing.name, path_of(room, event), peer.invite_body(room, event))
    assert answer.status == 403
    assert room.room_id not in (await bob.get("/v3/sync"))["rooms"].get("invite", {})
