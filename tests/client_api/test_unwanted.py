"""Stories of users who are ignored, and of invites that are not wanted [cs "Ignoring Users", "Invite permission"]."""

from tests.kit.server import Client, RunningServer, segment


async def account_data(client: Client, kind: str, content: object) -> None:
    await client.put(f"/v3/user/{segment(client.user_id)}/account_data/{kind}", content)


async def test_messages_of_ignored_users_are_not_told(server: RunningServer) -> None:
    alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
    room_id = (await alice.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
    room = f"/v3/rooms/{segment(room_id)}"
    for client in (bob, carol):
        await client.post(f"/v3/join/{segment(room_id)}")
    root = (await alice.put(f"{room}/send/m.room.message/1", {"body": "root"}))["event_id"]
    for client in (bob, carol):
        relation = {"rel_type": "m.thread", "event_id": root}
        await client.put(f"{room}/send/m.room.message/1", {"body": client.user_id, "m.relates_to": relation})
    await account_data(alice, "m.ignored_user_list", {"ignored_users": {bob.user_id: {}}})
    page = (await alice.get(f"{room}/messages", dir="b", limit=100))["chunk"]
    said = [event["content"]["body"] for event in page if "body" in event["content"]]
    assert said == [carol.user_id, "root"]
    assert any(event.get("state_key") == bob.user_id for event in page)  # his joining is still told
    context = await alice.get(f"{room}/context/{segment(root)}", limit=20)
    assert [event["sender"] for event in context["events_after"]] == [carol.user_id]
    children = (await alice.get(f"/v1/rooms/{segment(room_id)}/relations/{segment(root)}"))["chunk"]
    assert [event["sender"] for event in children] == [carol.user_id]
    everything = (await bob.get(f"{room}/messages", dir="b", limit=100))["chunk"]
    assert sum("body" in event["content"] for event in everything) == 3


async def test_invites_that_are_blocked(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    create, blocked = "/v3/createRoom", (403, "M_INVITE_BLOCKED")
    seen = (await alice.post(create, {"invite": [bob.user_id]}))["room_id"]
    assert seen in (await bob.get("/v3/sync", set_presence="offline"))["rooms"]["invite"]
    await account_data(bob, "m.invite_permission_config", {"default_action": "block"})
    assert await alice.refused("POST", create, {"invite": [bob.user_id]}) == blocked
    room_id = (await alice.post(create))["room_id"]
    room = f"/v3/rooms/{segment(room_id)}"
    assert await alice.refused("POST", f"{room}/invite", {"user_id": bob.user_id}) == blocked
    state = f"{room}/state/m.room.member/{segment(bob.user_id)}"
    assert await alice.refused("PUT", state, {"membership": "invite"}) == blocked
    assert "rooms" not in await bob.get("/v3/sync", set_presence="offline")
    await account_data(bob, "m.invite_permission_config", {})
    await alice.post(f"{room}/invite", {"user_id": bob.user_id})
    told = (await bob.get("/v3/sync", set_presence="offline"))["rooms"]["invite"]
    assert set(told) == {seen, room_id}


async def test_invites_that_are_ignored(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    lists = {"ignored_users": [alice.user_id]}
    await account_data(bob, "org.matrix.msc4155.invite_permission_config", lists)
    room_id = (await alice.post("/v3/createRoom", {"invite": [bob.user_id]}))["room_id"]
    assert "rooms" not in await bob.get("/v3/sync", set_presence="offline")
    members = await alice.get(f"/v3/rooms/{segment(room_id)}/members", membership="invite")
    assert [event["state_key"] for event in members["chunk"]] == [bob.user_id]
