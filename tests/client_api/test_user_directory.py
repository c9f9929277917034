"""Looking for people."""


async def found(client, term, **more):
    answer = await client.post("/v3/user_directory/search", {"search_term": term, **more})
    return [user["user_id"].partition(":")[0] for user in answer["results"]], answer["limited"]


async def test_who_is_found(server):
    alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
    await carol.put("/v3/profile/@carol:localhost/displayname", {"displayname": 'Ms. "Ö" 100%'})
    await carol.put("/v3/profile/@carol:localhost/avatar_url", {"avatar_url": "mxc://localhost/c"})
    assert await found(alice, "bob") == ([], False)  # they have no room in common, nor is he in an open one
    shut = (await alice.post("/v3/createRoom", {"preset": "private_chat", "invite": [bob.user_id]}))[
        "room_id"
    ]
    assert await found(alice, "bob") == ([], False)
    await bob.post(f"/v3/join/{shut}")
    assert await found(alice, "BOB") == (["@bob"], False)
    assert await found(carol, "bob") == ([], False)
    await carol.post("/v3/createRoom", {"preset": "public_chat"})
    for term in ("carol", "@carol", '"ö"', "100%", "ms.", "m%", "aro", "carol ms", "' | 'carol"):
        assert await found(alice, term) == (["@carol"], False), term
    for term in ("%", "c_rol", "\\", "", "  ", "x" * 5000, "carol bob"):
        assert await found(alice, term) == ([], False), term
    assert await found(carol, "carol") == (["@carol"], False)  # as strangers would
    assert await found(alice, "alice") == ([], False)
    assert await found(alice, "o", limit=1) == (["@bob"], True)
    assert await found(alice, "o", limit=0) == ([], False)
    await carol.put("/v3/profile/@carol:localhost/displayname", {"displayname": "Dora"})
    assert await found(alice, "dor") == (["@carol"], False)
    assert await found(alice, "ms") == ([], False)
    await carol.put("/v3/profile/@carol:localhost/displayname", {"displayname": 'Ms. "Ö" 100%'})
    answer = await alice.post("/v3/user_directory/search", {"search_term": "carol"})
    assert answer["results"] == [
        {"user_id": "@carol:localhost", "display_name": 'Ms. "Ö" 100%', "avatar_url": "mxc://localhost/c"}
    ]


async def test_people_are_found_while_their_room_is_open(server):
    alice, bob = await server.register("alice"), await server.register("bob")
    room = (await alice.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
    state = f"/v3/rooms/{room}/state"
    for kind, content, names in (
        ("m.room.join_rules", {"join_rule": "invite"}, []),
        ("m.room.history_visibility", {"history_visibility": "world_readable"}, ["@alice"]),
        ("m.room.history_visibility", {"history_visibility": "shared"}, []),
        ("m.room.join_rules", {"join_rule": "public"}, ["@alice"]),
    ):
        await alice.put(f"{state}/{kind}", content)
        assert await found(bob, "alice") == (names, False), (kind, content)
    await alice.post(f"/v3/rooms/{room}/leave", {})
    assert await found(bob, "alice") == ([], False)


async def test_what_is_no_search(server):
    alice = await server.register()
    for body, refusal in (
        ({}, (400, "M_MISSING_PARAM")),
        ({"search_term": 7}, (400, "M_BAD_JSON")),
        ({"search_term": "a\0"}, (400, "M_BAD_JSON")),
        ({"search_term": "a", "limit": -1}, (400, "M_INVALID_PARAM")),
        ({"search_term": "a", "limit": "1"}, (400, "M_BAD_JSON")),
    ):
        assert await alice.refused("POST", "/v3/user_directory/search", body) == refusal, body
