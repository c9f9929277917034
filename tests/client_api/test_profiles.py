"""What users say about themselves."""

import asyncio

from tests.kit.server import segment

ALICE = "/v3/profile/@alice:localhost"


async def test_fields_are_set_read_and_removed(server):
    alice, anybody = await server.register("alice"), server.anonymous()
    assert await anybody.get(ALICE) == {"displayname": "alice"}
    fields = {
        "displayname": "Alice",
        "avatar_url": "mxc://localhost/a",
        "m.tz": "Europe/Paris",
        "org.example.pets": [{"name": "Rex"}],
        "org.example.none": None,
    }
    for name, value in fields.items():
        await alice.put(f"{ALICE}/{name}", {name: value})
        assert await anybody.get(f"{ALICE}/{name}") == {name: value}
    assert await anybody.get(ALICE) == fields
    for name in fields:
        await alice.delete(f"{ALICE}/{name}")
        await alice.delete(f"{ALICE}/{name}")
        assert await anybody.refused("GET", f"{ALICE}/{name}") == (404, "M_NOT_FOUND")


async def test_whose_profile(server):
    await server.register("alice")
    bob = await server.register("bob")
    body = {"displayname": "Bob"}
    assert await bob.refused("PUT", f"{ALICE}/displayname", body) == (403, "M_FORBIDDEN")
    assert await bob.refused("DELETE", f"{ALICE}/displayname") == (403, "M_FORBIDDEN")
    assert await server.anonymous().refused("PUT", f"{ALICE}/displayname", body) == (401, "M_MISSING_TOKEN")
    for user, refusal in (
        ("@nobody:localhost", (404, "M_NOT_FOUND")),
        ("@alice:elsewhere.example", (404, "M_NOT_FOUND")),
        ("alice", (400, "M_INVALID_PARAM")),
    ):
        assert await bob.refused("GET", f"/v3/profile/{user}") == refusal
        assert await bob.refused("GET", f"/v3/profile/{user}/displayname") == refusal


async def test_what_is_no_field(server):
    alice = await server.register("alice")
    for name, body, refusal in (
        ("displayname", {}, (400, "M_MISSING_PARAM")),
        ("displayname", {"displayname": 7}, (400, "M_BAD_JSON")),
        ("displayname", {"displayname": None}, (400, "M_BAD_JSON")),
        ("displayname", {"displayname": "a\0b"}, (400, "M_BAD_JSON")),
        ("displayname", {"displayname": "x" * 257}, (400, "M_INVALID_PARAM")),
        ("avatar_url", {"avatar_url": "https://example.org/a.png"}, (400, "M_INVALID_PARAM")),
        ("m.tz", {"m.tz": {}}, (400, "M_BAD_JSON")),
        ("org.example.float", {"org.example.float": 1.5}, (400, "M_BAD_JSON")),
        ("org.example.huge", {"org.example.huge": 2**53}, (400, "M_BAD_JSON")),
        ("org." + "x" * 252, {"org." + "x" * 252: 1}, (400, "M_KEY_TOO_LARGE")),
        ("Shout", {"Shout": 1}, (400, "M_INVALID_PARAM")),
        ("plain", {"plain": 1}, (400, "M_INVALID_PARAM")),
        ("org.example.big", {"org.example.big": "x" * 65_536}, (400, "M_PROFILE_TOO_LARGE")),
        ("displayname", b"[]", (400, "M_BAD_JSON")),
        ("displayname", b"{", (400, "M_NOT_JSON")),
    ):
        assert await alice.refused("PUT", f"{ALICE}/{segment(name)}", body) == refusal, name
    assert await alice.get(ALICE) == {"displayname": "alice"}


async def test_the_whole_profile_is_limited_also_at_once(server):
    alice = await server.register("alice")
    answers = await asyncio.gather(
        *[
            alice.ask("PUT", f"{ALICE}/org.example.f{n}", {f"org.example.f{n}": "x" * 20_000})
            for n in range(5)
        ]
    )
    assert sorted(answer.status for answer in answers) == [200, 200, 200, 400, 400]


async def test_rooms_show_the_new_name(server):
    alice = await server.register("alice")
    room = (await alice.post("/v3/createRoom", {}))["room_id"]
    await alice.put(f"{ALICE}/displayname", {"displayname": "Alice"})
    await alice.put(f"{ALICE}/avatar_url", {"avatar_url": "mxc://localhost/a"})
    member = await alice.get(f"/v3/rooms/{room}/state/m.room.member/@alice:localhost")
    assert (member["displayname"], member["avatar_url"]) == ("Alice", "mxc://localhost/a")
