"""What stories of /sync ask, and what they look at in the answers."""

from collections.abc import Mapping
from typing import Any

import orjson

from tests.kit.server import Client, RunningServer, segment

Section = Mapping[str, Any]


async def create(client: Client, **options: object) -> str:
    body = {"preset": "public_chat", **options}
    return str((await client.post("/v3/createRoom", body))["room_id"])


async def join(client: Client, room_id: str) -> None:
    await client.post(f"/v3/join/{segment(room_id)}")


async def say(client: Client, room_id: str, body: str, **more: object) -> str:
    path = f"/v3/rooms/{segment(room_id)}/send/m.room.message/{body}"
    return str((await client.put(path, {"msgtype": "m.text", "body": body, **more}))["event_id"])


async def put(client: Client, room_id: str, kind: str, content: object, key: str = "") -> str:
    path = f"/v3/rooms/{segment(room_id)}/state/{kind}/{segment(key)}"
    return str((await client.put(path, content))["event_id"])


async def news(client: Client, since: str, room_id: str, part: str = "join", **query: object) -> Any:
    """The next answer that tells something of a room; presence may come first."""
    while True:
        answer = await client.get("/v3/sync", since=since, timeout=10_000, **query)
        if room_id in answer.get("rooms", {}).get(part, {}):
            return answer
        since = answer["next_batch"]


async def sync(client: Client, since: str | None = None, wanted: object = None, **query: object) -> Any:
    text = None if wanted is None else orjson.dumps(wanted).decode()
    return await client.get("/v3/sync", since=since, filter=text, **query)


def section(answer: Any, room_id: str, part: str = "join") -> Section:
    found: Section = answer["rooms"][part][room_id]
    return found


def bodies(room: Section) -> list[str]:
    return [event["content"]["body"] for event in room["timeline"]["events"] if "body" in event["content"]]


def state(room: Section, name: str = "state") -> dict[tuple[str, str], Any]:
    return {(event["type"], event["state_key"]): event["content"] for event in room[name]["events"]}


async def pair(server: RunningServer) -> tuple[Client, Client, str]:
    """Alice and Bob in a public room."""
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    return alice, bob, room_id
