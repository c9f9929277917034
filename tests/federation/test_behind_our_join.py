"""A gap that other servers fill with more than was missing: all back to the create event, from before we came."""

import pytest
from structlog.testing import capture_logs

from homeserver.core.room_versions import V2, V6, V12
from tests.kit.server import segment


@pytest.mark.parametrize("version", [V2, V6, V12], ids=lambda version: version.name)
async def test_a_peer_that_walks_back_to_the_beginning(homing, peer, version):
    """It does not know the events that we have, as it was away when we sent them."""
    room = peer.found(version)
    bob = await homing.register("bob")
    await bob.do("POST", f"/v3/join/{segment(room.room_id)}", {}, server_name=peer.name)

    async def everything(call):
        events = room.between([], call.body["latest_events"], limit=1000)
        return {"events": [dict(event.pdu) for event in events]}

    peer.on("POST", "/_matrix/federation/v1/get_missing_events/{roomId}", everything)
    with capture_logs() as logs:
        missed, last = room.topic(peer.alice, "missed"), room.message(peer.alice, "last")
        await peer.send(homing.name, [last])
        await seen(bob, room.room_id, {missed.event_id, last.event_id})
    assert not [line for line in logs if line["log_level"] == "error"]


async def test_an_event_that_follows_nothing(homing, peer):
    room = peer.found(V12)
    bob = await homing.register("bob")
    await bob.do("POST", f"/v3/join/{segment(room.room_id)}", {}, server_name=peer.name)
    pdu = room.draft(peer.alice, "m.room.message", {"body": "from nowhere"}).pdu
    alone = room.finish_pdu({**pdu, "prev_events": [], "signatures": {}})
    with capture_logs() as logs:
        await peer.send(homing.name, [alone])
        heard = room.message(peer.alice, "after it")
        await peer.send(homing.name, [heard])
        await seen(bob, room.room_id, {heard.event_id})
    assert not [line for line in logs if line["log_level"] == "error"]
    path = f"/v3/rooms/{segment(room.room_id)}/event/{segment(alone.event_id)}"
    assert await bob.refused("GET", path) == (404, "M_NOT_FOUND")


async def seen(client, room_id, events):
    """Sync until the client was told of the events."""
    token, missing = None, set(events)
    while missing:
        said = await client.get("/v3/sync", since=token, timeout=10_000)
        token = said["next_batch"]
        told = said.get("rooms", {}).get("join", {}).get(room_id, {"timeline": {"events": []}})
        missing -= {event["event_id"] for event in told["timeline"]["events"]}
