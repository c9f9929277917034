"""PUT /send/{txnId} over TLS, from a simulated server to one of ours: what clients see of it, what is refused."""

import asyncio

import pytest

from homeserver.core.room_versions import V12
from tests.kit.federation import Homing
from tests.kit.peer import Peer
from tests.kit.peer_calls import FEDERATION
from tests.kit.remote_room import RemoteRoom
from tests.kit.server import Client, segment


async def shared_room(homing: Homing, peer: Peer) -> tuple[Client, RemoteRoom]:
    """A public room of our user's that the peer's alice has joined."""
    client = await homing.register("owner")
    body = {"preset": "public_chat", "room_version": V12.name}
    room_id = (await client.post("/v3/createRoom", body))["room_id"]
    return client, await peer.join(homing.name, room_id, peer.alice)


async def seen(client: Client, room_id: str, since: str, wanted: str, where: str = "timeline"):
    """The events of a room's section of sync, as soon as one of type `wanted` is among them."""
    async with asyncio.timeout(20):
        while True:
            said = await client.get("/v3/sync", since=since, timeout=10_000)
            since = said["next_batch"]
            room = said.get("rooms", {}).get("join", {}).get(room_id, {})
            events = [event for event in room.get(where, {}).get("events", []) if event["type"] == wanted]
            if events:
                return events


async def since_now(client: Client) -> str:
    return (await client.get("/v3/sync"))["next_batch"]


async def test_a_message_reaches_a_client(homing: Homing, peer: Peer) -> None:
    client, room = await shared_room(homing, peer)
    since = await since_now(client)
    event = await peer.say(homing.name, room, peer.alice, "hello from afar")
    [message] = await seen(client, room.room_id, since, "m.room.message")
    assert message["event_id"] == event.event_id
    assert message["content"]["body"] == "hello from afar"


async def test_typing_receipts_and_presence_reach_a_client(homing: Homing, peer: Peer) -> None:
    client, room = await shared_room(homing, peer)
    event = (await client.put(f"/v3/rooms/{segment(room.room_id)}/send/m.room.message/1", {"body": "x"}))[
        "event_id"
    ]
    since = await since_now(client)
    name = homing.name
    await peer.edu(name, "m.typing", {"room_id": room.room_id, "user_id": peer.alice, "typing": True})
    [typing] = await seen(client, room.room_id, since, "m.typing", "ephemeral")
    assert typing["content"]["user_ids"] == [peer.alice]
    read = {peer.alice: {"data": {"ts": 1_700_000_000_000}, "event_ids": [event]}}
    await peer.edu(name, "m.receipt", {room.room_id: {"m.read": read}})
    [receipt] = await seen(client, room.room_id, since, "m.receipt", "ephemeral")
    assert receipt["content"][event]["m.read"] == {peer.alice: {"ts": 1_700_000_000_000}}
    push = [{"user_id": peer.alice, "presence": "online", "last_active_ago": 5, "status_msg": "about"}]
    await peer.edu(name, "m.presence", {"push": push})
    presence = await client.get(f"/v3/presence/{segment(peer.alice)}/status")
    assert (presence["presence"], presence["status_msg"]) == ("online", "about")


async def test_repeated_transactions_while_the_first_is_running(homing: Homing, peer: Peer) -> None:
    client, room = await shared_room(homing, peer)
    since = await since_now(client)
    event = room.message(peer.alice, "once")
    told = await asyncio.gather(*(peer.send(homing.name, [event], transaction="same") for _ in range(8)))
    assert told == [{event.event_id: {}}] * 8
    assert len(await seen(client, room.room_id, since, "m.room.message")) == 1
    async with homing.database.read() as conn:
        assert await conn.fetchval("SELECT count(*) FROM inbound_transactions") == 1


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (b"nonsense", (400, "M_BAD_JSON")),
        (b"[]", (400, "M_BAD_JSON")),
        ({"origin": "other.example", "origin_server_ts": 1, "pdus": []}, (403, "M_FORBIDDEN")),
        ({"origin": "PEER", "origin_server_ts": 1, "pdus": 7}, (400, "M_BAD_JSON")),
        ({"origin": "PEER", "origin_server_ts": 1, "pdus": [{}] * 51}, (400, "M_TOO_LARGE")),
        ({"origin": "PEER", "origin_server_ts": 1, "pdus": [], "edus": [{}] * 101}, (400, "M_TOO_LARGE")),
    ],
)
async def test_what_is_no_transaction(homing: Homing, peer: Peer, body, refusal) -> None:
    if isinstance(body, dict) and body["origin"] == "PEER":
        body = {**body, "origin": peer.name}
    answer = await peer.request("PUT", homing.name, f"{FEDERATION}/v1/send/1", body)
    assert (answer.status, answer.errcode) == refusal


async def test_the_bounds_themselves_are_fine(homing: Homing, peer: Peer) -> None:
    _, room = await shared_room(homing, peer)
    events = [room.message(peer.alice, str(number)) for number in range(50)]
    edus = [{"edu_type": "org.example.unknown", "content": {}}] * 100
    told = await peer.send(homing.name, events, edus)
    assert told == {event.event_id: {} for event in events}


async def test_nothing_is_lost_by_a_restart(homing: Homing, peer: Peer) -> None:
    client, room = await shared_room(homing, peer)
    since = await since_now(client)
    events = [room.message(peer.alice, str(number)) for number in range(50)]
    await peer.send(homing.name, events)
    await homing.restart()
    async with asyncio.timeout(20):
        for event in events:
            path = f"/v3/rooms/{segment(room.room_id)}/event/{segment(event.event_id)}"
            while (await client.ask("GET", path)).status != 200:
                said = await client.get("/v3/sync", since=since, timeout=1_000)
                since = said["next_batch"]


async def test_an_invitation_is_taken_back(homing: Homing, peer: Peer) -> None:
    client = await homing.register("guest")
    room = peer.found(V12)
    invite = await peer.invite(homing.name, room, peer.alice, client.user_id)
    assert room.room_id in (await client.get("/v3/sync"))["rooms"]["invite"]
    since = await since_now(client)
    kick = room.kick(peer.alice, client.user_id)
    assert invite.event_id in kick.auth_events
    assert (await peer.send(homing.name, [kick]))[kick.event_id] == {}
    said = await client.get("/v3/sync", since=since, timeout=10_000)
    assert room.room_id in said["rooms"]["leave"]
