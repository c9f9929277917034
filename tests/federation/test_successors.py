"""Rooms of other servers that are replaced, and redactions that reach for what is not theirs."""


async def until_told(client, name):
    """All that a client is told until something with this name is among it."""
    answer = await client.get("/v3/sync")
    seen = str(answer)
    while name not in seen:
        answer = await client.get("/v3/sync", since=answer["next_batch"], timeout=5000)
        seen += str(answer)
    return seen


async def test_our_aliases_follow_a_room_that_is_replaced_elsewhere(homings):
    one, two = await homings(2)
    alice, bob = await one.register("alice"), await two.register("bob")
    levels = {"users": {alice.user_id: 100, bob.user_id: 100}}
    body = {"preset": "public_chat", "room_version": "10", "power_level_content_override": levels}
    old = (await alice.post("/v3/createRoom", body))["room_id"]
    await bob.post(f"/v3/join/{old}", server_name=one.name)
    alias = f"%23ours:{two.name}"
    await bob.put(f"/v3/directory/room/{alias}", {"room_id": old})
    await bob.put(f"/v3/directory/list/room/{old}", {"visibility": "public"})
    new = (await alice.post(f"/v3/rooms/{old}/upgrade", {"new_version": "11"}))["replacement_room"]
    await until_told(bob, new)
    assert (await bob.get(f"/v3/directory/room/{alias}"))["room_id"] == old
    await bob.post(f"/v3/join/{new}", server_name=one.name)
    assert (await bob.get(f"/v3/directory/room/{alias}"))["room_id"] == new
    assert [room["room_id"] for room in (await bob.get("/v3/publicRooms"))["chunk"]] == [new]


async def test_a_redaction_reaches_into_no_other_room(homing, peer):
    bob = await homing.register("bob")
    one, other = [
        await peer.join(
            homing.name, (await bob.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"], peer.alice
        )
        for _ in range(2)
    ]
    said = await peer.say(homing.name, one, peer.alice, "hi")
    await until_told(bob, said.event_id)
    redaction = other.append(other.draft(peer.alice, "m.room.redaction", {"redacts": said.event_id}))
    await peer.send(homing.name, [redaction])
    after = await peer.say(homing.name, other, peer.alice, "and now")
    seen = await until_told(bob, after.event_id)
    assert redaction.event_id not in seen
    kept = await bob.get(f"/v3/rooms/{one.room_id}/event/{said.event_id}")
    assert kept["content"]["body"] == "hi"
