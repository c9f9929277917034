"""Device lists in sync: who came into sight, and who went."""

import asyncio
from typing import Any

from homeserver.services.device_lists import DeviceLists


async def test_device_lists_hear_of_members_that_lazy_loading_hides(server):
    alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
    room_id = (await alice.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
    await bob.post(f"/v3/join/{room_id}")
    lazy = '{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":1}}}'
    since = (await alice.get("/v3/sync", filter=lazy))["next_batch"]
    await carol.post(f"/v3/join/{room_id}")
    await bob.post(f"/v3/rooms/{room_id}/leave", {})
    for number in range(5):
        path = f"/v3/rooms/{room_id}/send/m.room.message/{number}"
        await carol.put(path, {"msgtype": "m.text", "body": "hi"})
    answer = await alice.get("/v3/sync", since=since, filter=lazy)
    assert answer["device_lists"] == {"changed": [carol.user_id], "left": [bob.user_id]}
    changes = await alice.get("/v3/keys/changes", **{"from": since, "to": answer["next_batch"]})
    assert changes == answer["device_lists"]


async def test_nothing_is_told_without_a_room_in_common(server):
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = (await alice.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
    since = (await bob.get("/v3/sync"))["next_batch"]
    await server.login("alice", device_id="NEW")
    assert "device_lists" not in await bob.get("/v3/sync", since=since)
    await bob.post(f"/v3/join/{room_id}")
    answer = await bob.get("/v3/sync", since=since)
    assert answer["device_lists"] == {"changed": [alice.user_id]}
    await bob.post(f"/v3/rooms/{room_id}/leave", {})
    answer = await bob.get("/v3/sync", since=answer["next_batch"])
    assert answer["device_lists"] == {"left": [alice.user_id]}


async def test_who_is_invited_is_looked_at_too(server):
    """Clients encrypt for them where the history will be theirs to read."""
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = (await alice.post("/v3/createRoom", {}))["room_id"]
    since = (await alice.get("/v3/sync"))["next_batch"]
    await alice.post(f"/v3/rooms/{room_id}/invite", {"user_id": bob.user_id})
    answer = await alice.get("/v3/sync", since=since)
    assert answer["device_lists"] == {"changed": [bob.user_id]}
    await bob.post(f"/v3/join/{room_id}")
    answer = await alice.get("/v3/sync", since=answer["next_batch"])
    assert answer["device_lists"] == {"changed": [bob.user_id]}


async def test_who_was_away_in_between_is_looked_at(server):
    """What happened to the devices meanwhile was told to nobody in the room."""
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = (await alice.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
    await bob.post(f"/v3/join/{room_id}")
    since = {who.user_id: (await who.get("/v3/sync"))["next_batch"] for who in (alice, bob)}
    await bob.post(f"/v3/rooms/{room_id}/leave", {})
    await bob.post(f"/v3/join/{room_id}")
    for who, other in ((alice, bob), (bob, alice)):
        answer = await who.get("/v3/sync", since=since[who.user_id])
        assert answer["device_lists"] == {"changed": [other.user_id]}
        changes = await who.get("/v3/keys/changes", **{"from": since[who.user_id], "to": "s9"})
        assert changes == {"changed": [other.user_id], "left": []}
    since = (await alice.get("/v3/sync"))["next_batch"]
    for name in ("B", "Bo"):  # this is no absence
        await bob.put(f"/v3/profile/{bob.user_id}/displayname", {"displayname": name})
    assert "device_lists" not in await alice.get("/v3/sync", since=since)


async def test_turning_down_an_invitation_leaves_nobody(server):
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = (await alice.post("/v3/createRoom", {"invite": [bob.user_id]}))["room_id"]
    since = (await bob.get("/v3/sync"))["next_batch"]
    await bob.post(f"/v3/rooms/{room_id}/leave", {})
    assert "device_lists" not in await bob.get("/v3/sync", since=since)


async def test_one_of_two_shared_rooms_is_enough(server):
    alice, bob = await server.register("alice"), await server.register("bob")
    rooms = [(await alice.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"] for _ in range(2)]
    for room_id in rooms:
        await bob.post(f"/v3/join/{room_id}")
    since = (await alice.get("/v3/sync"))["next_batch"]
    await bob.post(f"/v3/rooms/{rooms[0]}/leave", {})
    assert "device_lists" not in await alice.get("/v3/sync", since=since)
    await bob.put(f"/v3/devices/{bob.device_id}", {"display_name": "Renamed"})
    answer = await alice.get("/v3/sync", since=since)
    assert answer["device_lists"] == {"changed": [bob.user_id]}


async def test_who_enters_while_devices_change_hears_of_it(server, monkeypatch):
    """Who shares a room is looked up before the change is written."""
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = (await alice.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
    entered, about = [(await bob.get("/v3/sync"))["next_batch"]], DeviceLists.about
    hearing: list[asyncio.Task[Any]] = []

    async def slow(*args, **options):
        news = await about(*args, **options)
        if len(entered) == 1:
            await bob.post(f"/v3/join/{room_id}")
            answer = await bob.get("/v3/sync", since=entered[0])
            assert answer["device_lists"] == {"changed": [alice.user_id]}
            entered.append(answer["next_batch"])
            hearing.append(asyncio.create_task(bob.get("/v3/sync", since=entered[1], timeout=3000)))
            await asyncio.sleep(0.1)
        return news

    monkeypatch.setattr(DeviceLists, "about", slow)
    await alice.put(f"/v3/devices/{alice.device_id}", {"display_name": "Renamed"})
    assert (await hearing[0])["device_lists"] == {"changed": [alice.user_id]}
