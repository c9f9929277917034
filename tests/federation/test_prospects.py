"""Invitations and knocks of ours in rooms of other servers: how they come about, and how they always end."""

import asyncio

from homeserver.core.room_versions import ROOM_VERSIONS
from tests.federation.inbound.test_joins import founded
from tests.federation.test_membership import FEDERATION, V10, V12, joined, refused, section
from tests.kit.peer_calls import Refuse
from tests.kit.remote_room import RemoteRoom
from tests.kit.server import segment
from tests.kit.versions import ALL, KNOCKING, in_each


async def invited(homing, peer, version=V12):
    """One of ours who is invited to a closed room of the peer's, and the room."""
    bob = await homing.register()
    room = peer.found(version)
    room.join_rules(peer.alice, "invite")
    await peer.invite(homing.name, room, peer.alice, bob.user_id)
    return bob, room


def leave(client, room):
    return client.post(f"/v3/rooms/{segment(room.room_id)}/leave", {"reason": "no thanks"})


# Invitations of ours


async def test_an_invitation_is_accepted(homing, peer):
    async def story(version):
        bob, room = await invited(homing, peer, version)
        await joined(bob, room)  # the inviter's server is asked, nobody need be named
        assert room.room_id in await section(bob, "join")
        assert await section(bob, "invite") == {}

    await in_each(ALL, story)


async def test_an_invitation_is_declined(homing, peer):
    async def story(version):
        bob, room = await invited(homing, peer, version)
        since = (await bob.get("/v3/sync"))["next_batch"]
        await leave(bob, room)
        member = room.events[room.current()["m.room.member", bob.user_id]]
        assert member.content == {"membership": "leave", "reason": "no thanks"}
        news = await bob.get("/v3/sync", since=since)
        events = news["rooms"]["leave"][room.room_id]["timeline"]["events"]
        assert [event["content"]["membership"] for event in events] == ["leave"]
        assert await section(bob, "invite") == {}

    await in_each(ALL, story)


async def test_it_is_dismissed_though_the_server_is_gone(homing, peer):
    bob, room = await invited(homing, peer)
    await peer.stop()
    await leave(bob, room)
    assert await section(bob, "invite") == {}
    await bob.post(f"/v3/rooms/{segment(room.room_id)}/forget")


async def test_it_is_dismissed_though_the_server_refuses(homing, peer):
    bob, room = await invited(homing, peer, V10)

    async def forbid(call):
        raise Refuse(403, "M_FORBIDDEN")

    peer.on("GET", f"{FEDERATION}/v1/make_leave/{{roomId}}/{{userId}}", forbid)
    await leave(bob, room)
    assert await section(bob, "invite") == {}
    await leave(bob, room)  # nothing is left to do


async def test_it_comes_again_after_it_was_declined(homing, peer):
    bob, room = await invited(homing, peer)
    await leave(bob, room)
    await peer.invite(homing.name, room, peer.alice, bob.user_id)
    assert room.room_id in await section(bob, "invite")
    await joined(bob, room)


async def test_a_deactivated_account_declines(homing, peer):
    bob, _room = await invited(homing, peer)
    body = {"auth": {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": bob.user_id},
                     "password": "correct horse battery"}}  # fmt: skip
    await bob.post("/v3/account/deactivate", body)
    await peer.until(lambda: peer.seen("PUT", "/v2/send_leave"))


async def test_an_invitation_to_a_room_that_somebody_else_brought(homing, peer):
    bob, room = await invited(homing, peer)
    carol = await homing.register()
    await peer.invite(homing.name, room, peer.alice, carol.user_id)
    await joined(carol, room)
    assert room.room_id in await section(bob, "invite")
    await joined(bob, room)
    assert len(peer.seen("PUT", "/v2/send_join")) == 1
    dan = await homing.register()
    await carol.post(f"/v3/rooms/{segment(room.room_id)}/leave")
    await bob.post(f"/v3/rooms/{segment(room.room_id)}/leave")
    assert await refused(dan, room, peer.name) == (404, "M_NOT_FOUND")


async def test_a_guessed_version_is_corrected(homing, peer):
    """The first version of the invite API does not say which one it is."""
    bob = await homing.register()
    room = peer.found(ROOM_VERSIONS["2"])
    event = room.member(peer.alice, bob.user_id, "invite")
    path = f"{FEDERATION}/v1/invite/{segment(room.room_id)}/{segment(event.event_id)}"
    await peer.ask("PUT", homing.name, path, dict(event.pdu))
    await joined(bob, room)
    assert room.room_id in await section(bob, "join")


async def test_nobody_changes_the_version_of_a_room_that_we_know(homing, peer):
    bob = await homing.register()
    room = peer.found(V10)
    await joined(bob, room, peer.name)
    await leave(bob, room)
    other = RemoteRoom(ROOM_VERSIONS["9"], room_id=room.room_id, keys={peer.name: peer.key})
    other.public(peer.alice)
    event = other.draft(peer.alice, "m.room.member", {"membership": "invite"}, state_key=bob.user_id)
    path = f"{FEDERATION}/v2/invite/{segment(room.room_id)}/{segment(event.event_id)}"
    answer = await peer.request("PUT", homing.name, path, peer.invite_body(other, event))
    assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM")
    peer.keep(other)
    assert await refused(bob, other, peer.name) == (404, "M_NOT_FOUND")


# Invitations by ours


async def test_we_invite_and_they_enter(homing, peer):
    async def story(version):
        alice, room_id = await founded(homing, version.name, preset="private_chat", name="ours")
        await alice.post(f"/v3/rooms/{segment(room_id)}/invite", {"user_id": peer.alice, "reason": "come"})
        body = peer.invites[-1]
        assert body["room_version"] == version.name
        assert body["event"]["content"]["reason"] == "come"
        assert {"m.room.create", "m.room.name", "m.room.member"} <= {
            one["type"] for one in body["invite_room_state"]
        }
        path = f"/v3/rooms/{segment(room_id)}/state/m.room.member/{segment(peer.alice)}"
        assert (await alice.get(path))["membership"] == "invite"
        await peer.join(homing.name, room_id, peer.alice)
        assert (await alice.get(path))["membership"] == "join"

    await in_each(ALL, story)


async def test_rooms_begin_with_invitations(homing, peers):
    here, gone = await peers(), await peers()
    await gone.stop()
    alice, room_id = await founded(
        homing, preset="trusted_private_chat", invite=[here.alice, gone.alice], is_direct=True
    )
    assert here.invites[0]["event"]["content"]["is_direct"] is True
    members = await alice.get(f"/v3/rooms/{segment(room_id)}/members")
    found = {event["state_key"]: event["content"]["membership"] for event in members["chunk"]}
    assert found == {alice.user_id: "join", here.alice: "invite"}


async def test_invitations_that_are_refused(homing, peer):
    alice, room_id = await founded(homing)
    path = f"/v3/rooms/{segment(room_id)}/invite"

    async def answer(status, errcode):
        async def refuse(call):
            raise Refuse(status, errcode)

        peer.on("PUT", f"{FEDERATION}/v2/invite/{{roomId}}/{{eventId}}", refuse)
        return await alice.refused("POST", path, {"user_id": peer.alice})

    assert await answer(403, "M_FORBIDDEN") == (403, "M_FORBIDDEN")
    assert await answer(403, "M_INVITE_BLOCKED") == (403, "M_INVITE_BLOCKED")
    assert await answer(400, "M_INCOMPATIBLE_ROOM_VERSION") == (400, "M_UNSUPPORTED_ROOM_VERSION")
    assert (await answer(400, "M_INVALID_PARAM"))[0] == 502
    path_of_state = f"/v3/rooms/{segment(room_id)}/state/m.room.member/{segment(peer.alice)}"
    assert await alice.refused("GET", path_of_state) == (404, "M_NOT_FOUND")
    bob = await homing.register()
    assert await bob.refused("POST", path, {"user_id": peer.alice}) == (403, "M_FORBIDDEN")


async def test_an_invite_that_comes_back_changed(homing, peer):
    alice, room_id = await founded(homing)

    async def change(call):
        event = call.body["event"]
        return {"event": {**event, "content": {**event["content"], "displayname": "a fool"}}}

    async def unsigned(call):
        return {"event": call.body["event"]}

    for lie in (change, unsigned):
        peer.on("PUT", f"{FEDERATION}/v2/invite/{{roomId}}/{{eventId}}", lie)
        path = f"/v3/rooms/{segment(room_id)}/invite"
        assert await alice.refused("POST", path, {"user_id": peer.alice}) == (400, "M_BAD_JSON")


async def test_the_room_goes_on_while_they_sign(homing, peer):
    alice, room_id = await founded(homing)
    asked, go_on = asyncio.Event(), asyncio.Event()
    honest = next(
        each for _, pattern, each in peer._handlers if pattern.match(f"{FEDERATION}/v2/invite/!a/$b")
    )

    async def slow(call):
        asked.set()
        await go_on.wait()
        return await honest(call)

    peer.on("PUT", f"{FEDERATION}/v2/invite/{{roomId}}/{{eventId}}", slow)
    path = f"/v3/rooms/{segment(room_id)}"
    invite = asyncio.create_task(alice.post(f"{path}/invite", {"user_id": peer.alice}))
    await asked.wait()
    await alice.put(f"{path}/send/m.room.message/1", {"msgtype": "m.text", "body": "meanwhile"})
    await alice.put(f"{path}/state/m.room.topic/", {"topic": "meanwhile"})
    go_on.set()
    await invite
    assert (await alice.get(f"{path}/state/m.room.topic/"))["topic"] == "meanwhile"
    assert (await alice.get(f"{path}/state/m.room.member/{segment(peer.alice)}"))["membership"] == "invite"


# Knocks of ours


def knockable(peer, version):
    room = peer.found(version)
    room.send_state(peer.alice, "m.room.name", "", {"name": "behind a door"})
    room.join_rules(peer.alice, "knock")
    return room


async def knock(client, room, *via):
    query = "&".join(f"via={segment(name)}" for name in via)
    return await client.post(f"/v3/knock/{segment(room.room_id)}?{query}", {"reason": "please"})


async def test_knocks_and_is_let_in(homing, peer):
    async def story(version):
        bob, room = await homing.register(), knockable(peer, version)
        assert await knock(bob, room, peer.name) == {"room_id": room.room_id}
        member = room.events[room.current()["m.room.member", bob.user_id]]
        named = {"displayname": bob.user_id[1:].partition(":")[0]}  # as every new account is
        assert member.content == {"membership": "knock", "reason": "please"} | named
        shown = (await section(bob, "knock"))[room.room_id]["knock_state"]["events"]
        assert {"m.room.create", "m.room.name"} <= {event["type"] for event in shown}
        await peer.invite(homing.name, room, peer.alice, bob.user_id)
        assert room.room_id in await section(bob, "invite")
        await joined(bob, room)

    await in_each(KNOCKING, story)


async def test_a_knock_is_taken_back(homing, peer):
    bob, room = await homing.register(), knockable(peer, V12)
    await knock(bob, room, peer.name)
    await leave(bob, room)
    assert room.events[room.current()["m.room.member", bob.user_id]].membership == "leave"
    assert await section(bob, "knock") == {}


async def test_a_knock_is_refused_by_a_member(homing, peer):
    bob, room = await homing.register(), knockable(peer, V10)
    await knock(bob, room, peer.name)
    since = (await bob.get("/v3/sync"))["next_batch"]
    kick = room.kick(peer.alice, bob.user_id)
    await peer.send(homing.name, [kick])
    assert room.room_id in await section(bob, "leave", since=since, timeout=10_000)
    assert await section(bob, "knock") == {}
