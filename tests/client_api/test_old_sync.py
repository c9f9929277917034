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
    seen: list[dict[str, object]] = []
    answer = await waiting
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
    for query in ({"from": "nonsense"}, {"timeout": "-1"}, {"timeout": "x"}, {"limit": "-2"}, {"limit": "x"}):
        assert (await eve.refused("GET", "/v3/events", **query))[0] == 400, query
    assert (await eve.refused("GET", "/v3/initialSync", limit="-1"))[0] == 400


async def test_what_stands_beside_the_messages(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await room_of(alice, bob)
    event_id = await say(alice, room_id, "hello")
    await alice.put(
        f"/v3/presence/{segment(alice.user_id)}/status", {"presence": "online", "status_msg": "in"}
    )
    await alice.post(f"/v3/rooms/{segment(room_id)}/receipt/m.read/{segment(event_id)}", {})
    of_bob = f"/v3/user/{segment(bob.user_id)}"
    await bob.put(f"{of_bob}/account_data/org.example.all", {"cats": 1})
    await bob.put(f"{of_bob}/rooms/{segment(room_id)}/account_data/org.example.here", {"rats": 1})
    told = await bob.get("/v3/initialSync")
    assert told["account_data"] == [{"type": "org.example.all", "content": {"cats": 1}}]
    one = await bob.get(f"/v3/rooms/{segment(room_id)}/initialSync")
    for answer, room in ((told, told["rooms"][0]), (one, one)):
        assert room["account_data"] == [{"type": "org.example.here", "content": {"rats": 1}}]
        (receipt,) = answer["receipts"]
        assert receipt["room_id"] == room_id
        assert alice.user_id in receipt["content"][event_id]["m.read"]
        presence = {event["content"]["user_id"]: event["content"] for event in answer["presence"]}
        assert presence[alice.user_id]["status_msg"] == "in"
        assert presence[bob.user_id]["presence"] == "online"
        senders = {event["user_id"] for event in room["state"] if event["type"] == "m.room.create"}
        assert senders == {alice.user_id}
    assert (await bob.get(f"/v3/rooms/{segment(room_id)}/initialSync", limit=0))["messages"]["chunk"] == []
    await bob.post(f"/v3/rooms/{segment(room_id)}/leave")
    await say(alice, room_id, "later")
    left = await bob.get(f"/v3/rooms/{segment(room_id)}/initialSync", limit=2)
    assert left["membership"] == "leave"
    assert left["presence"] == left["receipts"] == []
    assert [event["type"] for event in left["messages"]["chunk"]] == ["m.room.message", "m.room.member"]


async def collect(
    client: Client, start: str, wanted: set[str], **query: object
) -> dict[str, dict[str, object]]:
    """Follow /events until there was one of each type; the last of each."""
    found: dict[str, dict[str, object]] = {}
    while not wanted <= found.keys():
        answer = await client.get("/v3/events", timeout=20_000, **{"from": start}, **query)
        found |= {event["type"]: event for event in answer["chunk"]}
        start = answer["end"]
    return found


async def test_events_tell_what_passes_by(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await room_of(alice, bob)
    event_id = await say(alice, room_id, "hello")
    start = (await bob.get("/v3/events"))["end"]
    of_bob = f"/v3/user/{segment(bob.user_id)}"
    await bob.put(f"{of_bob}/account_data/org.example.all", {})
    await bob.put(f"{of_bob}/rooms/{segment(room_id)}/tags/u.work", {"order": 0.5})
    path = f"/v3/rooms/{segment(room_id)}"
    await alice.post(f"{path}/receipt/m.read/{segment(event_id)}", {})
    await alice.put(f"{path}/typing/{segment(alice.user_id)}", {"typing": True, "timeout": 30_000})
    await alice.put(f"/v3/presence/{segment(alice.user_id)}/status", {"presence": "unavailable"})
    wanted = {"org.example.all", "m.tag", "m.receipt", "m.typing", "m.presence"}
    found = await collect(bob, start, wanted)
    assert "room_id" not in found["org.example.all"]
    assert {found[kind]["room_id"] for kind in ("m.tag", "m.receipt", "m.typing")} == {room_id}


async def test_onlookers_hear_of_what_passes_by(server: RunningServer) -> None:
    alice, eve = await server.register("alice"), await server.register("eve")
    readable = {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}
    room_id = await room_of(alice, initial_state=[readable])
    event_id = await say(alice, room_id, "hello")
    look = await eve.get(f"/v3/rooms/{segment(room_id)}/initialSync")
    assert "membership" not in look
    assert look["messages"]["chunk"][-1]["event_id"] == event_id
    start = look["messages"]["end"]
    path = f"/v3/rooms/{segment(room_id)}"
    waiting = asyncio.create_task(
        collect(eve, start, {"m.receipt", "m.typing", "m.presence"}, room_id=room_id)
    )
    await alice.post(f"{path}/receipt/m.read/{segment(event_id)}", {})
    await alice.put(f"{path}/typing/{segment(alice.user_id)}", {"typing": True, "timeout": 30_000})
    await alice.put(f"/v3/presence/{segment(alice.user_id)}/status", {"presence": "unavailable"})
    found = await waiting
    assert found["m.typing"]["content"] == {"user_ids": [alice.user_id]}
    many = [await say(alice, room_id, f"m{number}") for number in range(105)]
    answer = await eve.get("/v3/events", room_id=room_id, **{"from": start})
    rest = await eve.get("/v3/events", room_id=room_id, **{"from": answer["end"]})
    told = [event["event_id"] for one in (answer, rest) for event in one["chunk"] if "event_id" in event]
    assert told == many


async def test_a_room_that_closes_is_told_no_more(server: RunningServer) -> None:
    alice, eve = await server.register("alice"), await server.register("eve")
    path, content = "m.room.history_visibility", {"history_visibility": "world_readable"}
    room_id = await room_of(alice, initial_state=[{"type": path, "content": content}])
    start = (await eve.get("/v3/events", room_id=room_id))["end"]
    waiting = asyncio.create_task(
        eve.ask("GET", "/v3/events", room_id=room_id, timeout=20_000, **{"from": start})
    )
    await alice.put(f"/v3/rooms/{segment(room_id)}/state/{path}/", {"history_visibility": "shared"})
    await say(alice, room_id, "secret")
    answer = await waiting
    assert answer.status in (200, 403)  # told what happened until then, or come too late
    assert b"secret" not in answer.content
    assert (await eve.refused("GET", "/v3/events", room_id=room_id, **{"from": start}))[0] == 403
