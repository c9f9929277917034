"""Stories of clients that sync as it was done long ago."""

import asyncio

from tests.kit.server import Client, RunningServer, segment


async def room_of(*people: Client, **options: object) -> str:
    room_id: str = (await people[0].post("/v3/createRoom", {"preset": "public_chat", **options}))["room_id"]
    for client in people[1:]:
        await client.post(f"/v3/join/{segment(room_id)}")
    return room_id


async def say(client: Client, room_id: str, body: str) -> str:
    path = f"/v3/rooms/{segment(room_id)}/send/m.room.message/{body}"
    event_id: str = (await client.put(path, {"body": body, "msgtype": "m.text"}))["event_id"]
    return event_id


async def test_initial_sync_and_events(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id, left = await room_of(alice, bob, visibility="public"), await room_of(alice, bob)
    await bob.post(f"/v3/rooms/{segment(left)}/leave")
    invited = await room_of(alice, invite=[bob.user_id])
    for body in ("one", "two"):
        await say(alice, room_id, body)
    told = await bob.get("/v3/initialSync", limit=1)
    rooms = {room["room_id"]: room for room in told["rooms"]}
    assert set(rooms) == {room_id, invited}
    room = rooms[room_id]
    assert (room["membership"], room["visibility"]) == ("join", "public")
    assert [event["content"]["body"] for event in room["messages"]["chunk"]] == ["two"]
    assert any(event["type"] == "m.room.create" for event in room["state"])
    older = await bob.get(
        f"/v3/rooms/{segment(room_id)}/messages", dir="b", limit=1, **{"from": room["messages"]["start"]}
    )
    assert older["chunk"][0]["content"]["body"] == "one"
    assert rooms[invited]["inviter"] == alice.user_id
    assert rooms[invited]["invite"]["state_key"] == bob.user_id
    assert left in {room["room_id"] for room in (await bob.get("/v3/initialSync", archived="true"))["rooms"]}
    waiting = asyncio.create_task(bob.get("/v3/events", timeout=20_000, **{"from": told["end"]}))
    event_id = await say(alice, room_id, "three")
    seen, answer = [], await waiting
    while not seen:
        seen = [event for event in answer["chunk"] if event.get("event_id") == event_id]
        answer = (
            await bob.get("/v3/events", timeout=20_000, **{"from": answer["end"]}) if not seen else answer
        )
    assert seen[0]["room_id"] == room_id
    again = await bob.get("/v3/events", **{"from": answer["end"]})
    assert not [event for event in again["chunk"] if event["type"] == "m.room.message"]
    assert (await bob.get(f"/v3/events/{segment(event_id)}"))["content"]["body"] == "three"


async def test_peeking(server: RunningServer) -> None:
    alice, eve = await server.register("alice"), await server.register("eve")
    readable = {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}
    room_id, hidden = await room_of(alice, initial_state=[readable]), await room_of(alice)
    start = (await eve.get("/v3/events", room_id=room_id))["end"]
    waiting = asyncio.create_task(eve.get("/v3/events", room_id=room_id, timeout=20_000, **{"from": start}))
    await say(alice, room_id, "hello")
    answer = await waiting
    assert [event["content"]["body"] for event in answer["chunk"]] == ["hello"]
    event_id = await say(alice, hidden, "secret")
    assert await eve.refused("GET", "/v3/events", room_id=hidden) == (403, "M_FORBIDDEN")
    assert await eve.refused("GET", f"/v3/events/{segment(event_id)}") == (404, "M_NOT_FOUND")
    assert await eve.refused("GET", "/v3/events/$nothing") == (404, "M_NOT_FOUND")
    for query in ({"from": "nonsense"}, {"timeout": "-1"}, {"timeout": "x"}):
        assert (await eve.refused("GET", "/v3/events", **query))[0] == 400, query
    assert (await eve.refused("GET", "/v3/initialSync", limit="-1"))[0] == 400
