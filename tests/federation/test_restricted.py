"""Restricted rooms: our users are let in by servers that may, wherever the room and the allowed one are."""

from homeserver.core.room_versions import ROOM_VERSIONS
from tests.federation.inbound.test_joins import founded
from tests.federation.test_membership import FEDERATION, joined, refused, section, state_of
from tests.kit.peer_calls import Refuse
from tests.kit.server import segment
from tests.kit.versions import RESTRICTED, in_each

V10 = ROOM_VERSIONS["10"]
AUTHORIZER = "join_authorised_via_users_server"
MAKE_JOIN = f"{FEDERATION}/v1/make_join/{{roomId}}/{{userId}}"


def restricted(peer, version, allowed="!club:example.org"):
    """A room that members of another may enter, which the peer vouches for."""
    room = peer.found(version)
    allow = [{"type": "m.room_membership", "room_id": allowed}]
    room.join_rules(peer.alice, "restricted", allow=allow)

    async def vouch(call):
        user = call.parameters["userId"]
        content = {"membership": "join", AUTHORIZER: peer.alice}
        return {"room_version": version.name, "event": room.template(user, "m.room.member", content, user)}

    peer.on("GET", MAKE_JOIN, vouch)
    return room


async def test_enters_by_another_servers_word(homing, peer):
    async def story(version):
        alice = await homing.register()
        room = restricted(peer, version)
        await joined(alice, room, peer.name)
        assert await state_of(alice, room) == room.current()
        member = room.events[room.current()["m.room.member", alice.user_id]]
        assert member.content[AUTHORIZER] == peer.alice
        assert set(member.pdu["signatures"]) == {homing.name, peer.name}

    await in_each(RESTRICTED, story)


async def test_the_vouching_server_must_sign(homing, peer):
    alice = await homing.register()
    room = restricted(peer, V10)
    path = f"{FEDERATION}/v2/send_join/{{roomId}}/{{eventId}}"
    honest = next(
        each for _, pattern, each in peer._handlers if pattern.match(path.format(roomId="!a", eventId="$b"))
    )

    async def silent(call):
        said = await honest(call)
        return {name: value for name, value in said.items() if name != "event"}

    async def unsigned(call):
        return {**await honest(call), "event": call.body}

    async def forged(call):
        signatures = {**call.body["signatures"], peer.name: {"ed25519:peer": "A" * 86}}
        return {**await honest(call), "event": {**call.body, "signatures": signatures}}

    for lie in (silent, unsigned, forged):
        peer.on("PUT", path, lie)
        assert await refused(alice, room, peer.name) == (404, "M_NOT_FOUND")


async def test_another_server_is_asked_that_may(homing, peers):
    alice = await homing.register()
    here, there = await peers(), await peers()
    room = restricted(here, V10)

    async def unable(call):
        raise Refuse(400, "M_UNABLE_TO_GRANT_JOIN")

    there.on("GET", MAKE_JOIN, unable)
    await joined(alice, room, there.name, here.name)
    bob = await homing.register()
    here.on("GET", MAKE_JOIN, unable)
    assert await refused(bob, room) == (400, "M_UNABLE_TO_GRANT_JOIN")


async def test_who_is_here_cannot_let_in_but_others_can(homing, peer):
    """We are in the room, but nobody of ours may invite; the peer's user may."""
    alice, bob = await homing.register(), await homing.register()
    room = peer.found(V10)
    room.power_levels(peer.alice, {peer.alice: 100}, invite=50)
    allow = [{"type": "m.room_membership", "room_id": "!club:example.org"}]
    await joined(alice, room, peer.name)
    since = (await alice.get("/v3/sync"))["next_batch"]
    rules = room.join_rules(peer.alice, "restricted", allow=allow)
    await peer.send(homing.name, [rules])
    assert room.room_id in await section(alice, "join", since=since, timeout=20_000)

    async def vouch(call):
        user = call.parameters["userId"]
        content = {"membership": "join", AUTHORIZER: peer.alice}
        return {"room_version": "10", "event": room.template(user, "m.room.member", content, user)}

    peer.on("GET", MAKE_JOIN, vouch)
    await joined(bob, room)
    members = (await alice.get(f"/v3/rooms/{segment(room.room_id)}/joined_members"))["joined"]
    assert bob.user_id in members


async def test_alone_nobody_lets_in(homing):
    _, room_id = await founded(homing, "10")
    rule = {
        "join_rule": "restricted",
        "allow": [{"type": "m.room_membership", "room_id": "!club:example.org"}],
    }
    alice = await homing.register()
    body = {
        "room_version": "10",
        "initial_state": [{"type": "m.room.join_rules", "state_key": "", "content": rule}],
    }
    room_id = (await alice.post("/v3/createRoom", body))["room_id"]
    bob = await homing.register()
    assert await bob.refused("POST", f"/v3/join/{segment(room_id)}", {}) == (403, "M_FORBIDDEN")
