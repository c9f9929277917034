"""Who leaves for good may wish that whoever comes later does not see what they said [cs "POST /account/deactivate"]."""

from tests.client_api.test_account import challenge, password


async def test_who_comes_after_an_erasure_sees_that_something_was_said(homing, peer):
    alice, bob, carol = [await homing.register(name) for name in ("alice", "bob", "carol")]
    room_id = (await alice.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
    await bob.post(f"/v3/join/{room_id}")
    await peer.join(homing.name, room_id, peer.alice)
    path = f"/v3/rooms/{room_id}/send/m.room.message/1"
    said = (await alice.put(path, {"msgtype": "m.text", "body": "regret"}))["event_id"]
    there = await peer.ask("GET", homing.name, f"/_matrix/federation/v1/event/{said}")
    assert there["pdus"][0]["content"]["body"] == "regret"
    asked = await challenge(alice, "POST", "/v3/account/deactivate", {"erase": True})
    await alice.post("/v3/account/deactivate", {"erase": True, "auth": password("alice", asked["session"])})
    await carol.post(f"/v3/join/{room_id}")
    for reader, content in ((bob, {"msgtype": "m.text", "body": "regret"}), (carol, {})):
        timeline = (await reader.get("/v3/sync"))["rooms"]["join"][room_id]["timeline"]["events"]
        messages = (await reader.get(f"/v3/rooms/{room_id}/messages", dir="b", limit=50))["chunk"]
        for events in (timeline, messages):
            told = {event["event_id"]: event for event in events}
            assert told[said]["content"] == content
            assert any(event["type"] == "m.room.create" and event["content"] for event in messages)
    there = await peer.ask("GET", homing.name, f"/_matrix/federation/v1/event/{said}")
    assert there["pdus"][0]["content"] == {}
