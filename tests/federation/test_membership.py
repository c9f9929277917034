"""Our users in rooms of other servers: joins, knocks, invitations, and servers that lie or are gone."""

import asyncio

import pytest

from homeserver.core.room_versions import ROOM_VERSIONS
from tests.kit.peer_calls import Refuse
from tests.kit.remote_room import RemoteRoom
from tests.kit.server import segment
from tests.kit.versions import ALL, in_each

V10, V12 = ROOM_VERSIONS["10"], ROOM_VERSIONS["12"]
FEDERATION = "/_matrix/federation"


def join(client, room, *via):
    query = "&".join(f"via={segment(name)}" for name in via)
    return client.ask("POST", f"/v3/join/{segment(room.room_id)}?{query}", {})


async def joined(client, room, *via):
    answer = await join(client, room, *via)
    assert answer.status == 200, answer.content
    assert answer.json == {"room_id": room.room_id}


async def refused(client, room, *via):
    answer = await join(client, room, *via)
    return answer.status, answer.errcode


async def state_of(client, room):
    found = await client.get(f"/v3/rooms/{segment(room.room_id)}/state")
    return {(event["type"], event["state_key"]): event["event_id"] for event in found}


async def section(client, name, **query):
    return (await client.get("/v3/sync", **query)).get("rooms", {}).get(name, {})


# Joins


async def test_joins_a_room(homing, peer):
    async def story(version):
        alice = await homing.register()
        room = peer.found(version)
        room.send_state(peer.alice, "m.room.name", "", {"name": "far away"})
        await joined(alice, room, peer.name)
        assert await state_of(alice, room) == room.current()
        assert ("m.room.member", alice.user_id) in room.current()
        shown = (await section(alice, "join"))[room.room_id]
        assert "m.room.name" in {event["type"] for event in shown["state"]["events"]}
        since = (await alice.get("/v3/sync"))["next_batch"]
        said = await peer.say(homing.name, room, peer.alice, "welcome")
        news = (await section(alice, "join", since=since, timeout=20_000))[room.room_id]["timeline"]["events"]
        assert [event["event_id"] for event in news] == [said.event_id]

    await in_each(ALL, story)


async def test_joins_by_an_alias(homing, peer):
    alice = await homing.register()
    room = peer.found(V12)
    alias = f"#somewhere:{peer.name}"
    peer.aliases[alias] = room.room_id
    assert (await alice.post(f"/v3/join/{segment(alias)}"))["room_id"] == room.room_id
    assert (await alice.refused("POST", f"/v3/join/{segment('#nowhere:' + peer.name)}", {}))[0] == 404


async def test_the_profile_is_ours(homing, peer):
    alice = await homing.register()
    await alice.put(f"/v3/profile/{segment(alice.user_id)}/displayname", {"displayname": "Alice of ours"})
    room = peer.found(V10)

    async def liar(call):
        template = room.template(alice.user_id, "m.room.member", {"membership": "join"}, alice.user_id)
        template["content"] = {"membership": "join", "displayname": "a fool"}
        return {"room_version": "10", "event": template}

    peer.on("GET", f"{FEDERATION}/v1/make_join/{{roomId}}/{{userId}}", liar)
    await joined(alice, room, peer.name)
    member = room.events[room.current()["m.room.member", alice.user_id]]
    assert member.content == {"membership": "join", "displayname": "Alice of ours"}


async def test_many_join_at_once_by_one_handshake(homing, peer):
    users = await asyncio.gather(*(homing.register() for _ in range(4)))
    room = peer.found(V12)
    await asyncio.gather(*(joined(user, room, peer.name) for user in users))
    assert len(peer.seen("PUT", "/v2/send_join")) == 1
    members = (await users[0].get(f"/v3/rooms/{segment(room.room_id)}/joined_members"))["joined"]
    assert {user.user_id for user in users} <= set(members)


async def test_what_arrives_while_we_enter_is_not_lost(homing, peer):
    alice = await homing.register()
    room = peer.found(V12)
    path = f"{FEDERATION}/v2/send_join/{{roomId}}/{{eventId}}"
    honest = next(
        each for _, pattern, each in peer._handlers if pattern.match(path.format(roomId="!a", eventId="$b"))
    )
    early = []

    async def hasty(call):
        said = await honest(call)
        event = room.message(peer.alice, "you are early")
        early.append(asyncio.create_task(peer.send(homing.name, [event])))
        await asyncio.sleep(0)
        return said

    peer.on("PUT", path, hasty)
    await joined(alice, room, peer.name)
    assert await early[0] == {room.last.event_id: {}}
    seen = await alice.get("/v3/sync")
    timeline = seen["rooms"]["join"][room.room_id]["timeline"]["events"]
    if room.last.event_id not in {event["event_id"] for event in timeline}:
        news = await section(alice, "join", since=seen["next_batch"], timeout=20_000)
        assert room.last.event_id in {event["event_id"] for event in news[room.room_id]["timeline"]["events"]}


async def test_comes_back_after_everybody_left(homing, peer):
    alice = await homing.register()
    room = peer.found(V12)
    await joined(alice, room, peer.name)
    left = await alice.post(f"/v3/rooms/{segment(room.room_id)}/leave")
    assert left == {}
    leave = (await state_of(alice, room))["m.room.member", alice.user_id]
    path = f"/v3/rooms/{segment(room.room_id)}/event/{segment(leave)}"
    if leave not in room.events:  # unless our sender was faster
        pdu = await peer.ask("GET", homing.name, f"{FEDERATION}/v1/event/{segment(leave)}")
        room.receive(room.finished(pdu["pdus"][0]))
    room.topic(peer.alice, "while you were away")
    await joined(alice, room)  # the servers are known
    assert await state_of(alice, room) == room.current()
    assert await alice.get(path)


async def test_the_second_server_helps(homing, peers):
    alice = await homing.register()
    here, there, gone = await peers(), await peers(), await peers()
    room = here.found(V12)
    there.on(
        "GET", f"{FEDERATION}/v1/make_join/{{roomId}}/{{userId}}", {"errcode": "M_NOT_FOUND"}, status=404
    )
    await gone.stop()
    await joined(alice, room, gone.name, there.name, here.name)
    assert there.seen("GET", "/v1/make_join")


async def test_the_clearest_refusal_is_told(homing, peers):
    alice = await homing.register()
    here, there = await peers(), await peers()
    room = here.found(V12)
    room.join_rules(here.alice, "invite")

    async def forbid(call):
        raise Refuse(403, "M_FORBIDDEN")

    here.on("GET", f"{FEDERATION}/v1/make_join/{{roomId}}/{{userId}}", forbid)
    assert await refused(alice, room, here.name, there.name) == (403, "M_FORBIDDEN")
    await here.stop()
    assert await refused(alice, room, here.name) == (404, "M_NOT_FOUND")
    unknown = RemoteRoom(V12, room_id="!" + "a" * 43)
    assert await refused(alice, unknown) == (404, "M_NOT_FOUND")


async def test_a_server_that_was_down_is_asked_again(homing, peer):
    alice = await homing.register()
    room = peer.found(V12)
    await peer.stop()
    assert await refused(alice, room, peer.name) == (404, "M_NOT_FOUND")
    await peer.start()
    await joined(alice, room, peer.name)  # though its back-off has not ended


async def test_an_unknown_version_is_told(homing, peer):
    alice = await homing.register()
    room = peer.found(V12)
    said = {"errcode": "M_INCOMPATIBLE_ROOM_VERSION", "error": "too new", "room_version": "99"}
    peer.on("GET", f"{FEDERATION}/v1/make_join/{{roomId}}/{{userId}}", said, status=400)
    assert await refused(alice, room, peer.name) == (400, "M_INCOMPATIBLE_ROOM_VERSION")
    said = {"errcode": "ORG.EXAMPLE_FULL", "error": "no room left"}
    peer.on("GET", f"{FEDERATION}/v1/make_join/{{roomId}}/{{userId}}", said, status=400)
    assert await refused(alice, room, peer.name) == (400, "ORG.EXAMPLE_FULL")
    said = {"errcode": "M_UNKNOWN_TOKEN", "error": "log in again"}  # that would log our client out
    peer.on("GET", f"{FEDERATION}/v1/make_join/{{roomId}}/{{userId}}", said, status=400)
    assert (await refused(alice, room, peer.name))[0] == 502


# Lies


def template_of(room, user, **changes):
    made = room.template(user, "m.room.member", {"membership": "join"}, user)
    return {"room_version": room.version.name, "event": {**made, **changes}}


TEMPLATES = {
    "another room": lambda room, user: template_of(room, user, room_id="!other:example.org"),
    "another user": lambda room, user: template_of(room, user, state_key="@other:example.org"),
    "another sender": lambda room, user: template_of(room, user, sender="@other:example.org"),
    "another type": lambda room, user: template_of(room, user, type="m.room.power_levels"),
    "another membership": lambda room, user: template_of(room, user, content={"membership": "ban"}),
    "no links": lambda room, user: template_of(room, user, prev_events="none"),
    "many links": lambda room, user: template_of(room, user, prev_events=["$a"] * 100),
    "odd links": lambda room, user: template_of(room, user, auth_events=[7]),
    "no depth": lambda room, user: template_of(room, user, depth="deep"),
    "a negative depth": lambda room, user: template_of(room, user, depth=-1),
    "an unheard-of version": lambda room, user: {**template_of(room, user), "room_version": "99"},
    "no event": lambda room, user: {"room_version": "10"},
}


async def test_nothing_else_is_signed_than_was_meant(homing, peer):
    alice = await homing.register()
    room = peer.found(V10)
    for name, lie in TEMPLATES.items():
        peer.on("GET", f"{FEDERATION}/v1/make_join/{{roomId}}/{{userId}}", lie(room, alice.user_id))
        assert await refused(alice, room, peer.name) == (404, "M_NOT_FOUND"), name
    assert not peer.seen("PUT", "/v2/send_join")


def without(kind):
    def change(room, said):
        return {**said, "state": [pdu for pdu in said["state"] if pdu["type"] != kind]}

    return change


def other_version(room, said):
    create = next(event for event in room.events.values() if event.type == "m.room.create")
    changed = {**create.pdu, "content": {**create.content, "room_version": "9"}}
    changed = dict(
        room.finish_pdu({k: v for k, v in changed.items() if k not in ("hashes", "signatures")}).pdu
    )
    return {
        **said,
        "state": [changed if pdu["type"] == "m.room.create" else pdu for pdu in said["state"]],
        "auth_chain": [changed if pdu["type"] == "m.room.create" else pdu for pdu in said["auth_chain"]],
    }


def forged_chain(room, said):
    forged = [{**pdu, "signatures": {}} for pdu in said["auth_chain"]]
    return {**said, "auth_chain": forged, "state": [{**pdu, "signatures": {}} for pdu in said["state"]]}


def no_lists(room, said):
    return {"event": said["event"]}


def garbage(room, said):
    return {**said, "state": [{"garbage": "x" * 1000}] * 10_000}


def one_key_twice(room, said):
    room.topic("@alice:" + next(iter(room.keys)), "one")
    one = room.last
    room.topic("@alice:" + next(iter(room.keys)), "two")
    return {**said, "state": [*said["state"], dict(one.pdu), dict(room.last.pdu)]}


def omitted(room, said):
    return {**said, "members_omitted": True}


ANSWERS = {
    "no create event": without("m.room.create"),
    "another version": other_version,
    "forged events": forged_chain,
    "no lists": no_lists,
    "ten megabytes of garbage": garbage,
    "members omitted": omitted,
    "one key twice": one_key_twice,
}


@pytest.mark.parametrize("lie", ANSWERS.values(), ids=ANSWERS)
async def test_a_room_that_does_not_hold_is_not_entered(homing, peer, lie):
    alice = await homing.register()
    room = peer.found(V10)
    honest = next(handler for method, pattern, handler in peer._handlers if pattern.match(
        f"{FEDERATION}/v2/send_join/!a/$b"))  # fmt: skip

    async def lying(call):
        return lie(room, await honest(call))

    peer.on("PUT", f"{FEDERATION}/v2/send_join/{{roomId}}/{{eventId}}", lying)
    assert await refused(alice, room, peer.name) == (404, "M_NOT_FOUND")
    assert "rooms" not in await alice.get("/v3/sync")
    # Nothing of the lie stands in the way of the truth.
    peer.on("PUT", f"{FEDERATION}/v2/send_join/{{roomId}}/{{eventId}}", honest)
    await joined(alice, room, peer.name)
    assert ("m.room.create", "") in await state_of(alice, room)
