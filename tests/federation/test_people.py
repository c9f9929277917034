"""People of other servers are findable while one of us is with them."""


async def test_a_room_that_we_left_says_nothing(homing, peer):
    bob, carol = await homing.register("bob"), await homing.register("carol")
    room_id = (await bob.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
    await peer.join(homing.name, room_id, peer.alice)
    search = {"search_term": peer.alice}
    found = await carol.post("/v3/user_directory/search", search)
    assert [user["user_id"] for user in found["results"]] == [peer.alice]
    await bob.post(f"/v3/rooms/{room_id}/leave", {})
    assert await carol.post("/v3/user_directory/search", search) == {"results": [], "limited": False}
