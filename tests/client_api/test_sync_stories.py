"""Stories of /sync over HTTP."""

import asyncio
from typing import Any

from tests.kit.server import Client, RunningServer, segment


async def create(client: Client, **options: object) -> str:
    body = {"preset": "public_chat", **options}
    return str((await client.post("/v3/createRoom", body))["room_id"])


async def say(client: Client, room_id: str, body: str) -> str:
    path = f"/v3/rooms/{segment(room_id)}/send/m.room.message/{body}"
    return str((await client.put(path, {"msgtype": "m.text", "body": body}))["event_id"])


async def news(client: Client, since: str, room_id: str, **query: object) -> Any:
    """The next answer that tells something of a room; presence may come first."""
    while True:
        answer = await client.get("/v3/sync", since=since, timeout=10_000, **query)
        if room_id in answer.get("rooms", {}).get("join", {}):
            return answer
        since = answer["next_batch"]


async def test_a_message_arrives_in_a_waiting_sync(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await create(alice)
    await bob.post(f"/v3/join/{segment(room_id)}")
    first = await bob.get("/v3/sync")
    room = first["rooms"]["join"][room_id]
    assert [event["type"] for event in room["timeline"]["events"]][-1] == "m.room.member"
    state = {(event["type"], event["state_key"]) for event in room["state"]["events"]}
    timeline = {(event["type"], event.get("state_key")) for event in room["timeline"]["events"]}
    assert ("m.room.create", "") in state | timeline
    assert room["summary"]["m.joined_member_count"] == 2
    assert room["summary"]["m.heroes"] == [alice.user_id]
    waiting = asyncio.ensure_future(news(bob, first["next_batch"], room_id))
    event_id = await say(alice, room_id, "hello")
    answer = await waiting
    section = answer["rooms"]["join"][room_id]
    assert [event["event_id"] for event in section["timeline"]["events"]] == [event_id]
    assert section["timeline"]["limited"] is False
    assert "transaction_id" not in section["timeline"]["events"][0]["unsigned"]
    quiet = await bob.get("/v3/sync", since=answer["next_batch"])
    assert "rooms" not in quiet


async def test_state_after_tells_a_lazy_client_of_members_in_the_timeline(server: RunningServer) -> None:
    """With it, the timeline's events change no state: a kick that only stands there would never be seen."""
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await create(alice)
    await bob.post(f"/v3/join/{segment(room_id)}")
    query = {"filter": '{"room": {"state": {"lazy_load_members": true}}}', "use_state_after": "true"}
    first = await bob.get("/v3/sync", **query)
    await alice.post(f"/v3/rooms/{segment(room_id)}/kick", {"user_id": bob.user_id})
    answer = await bob.get("/v3/sync", since=first["next_batch"], **query)
    after = answer["rooms"]["leave"][room_id]["state_after"]["events"]
    assert [(event["state_key"], event["content"]["membership"]) for event in after] == [
        (bob.user_id, "leave")
    ]
