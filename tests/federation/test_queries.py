"""Two servers of ours ask each other: profiles, aliases, public rooms, spaces, OpenID."""

from urllib.parse import quote

from tests.client_api.test_room_stories import create
from tests.kit.federation import Homings
from tests.kit.server import segment


async def test_profiles_of_other_servers(homings: Homings) -> None:
    ours, theirs = await homings(2)
    alice, bob = await ours.register(), await theirs.register()
    await bob.put(f"/v3/profile/{segment(bob.user_id)}/displayname", {"displayname": "Bob"})
    path = f"/v3/profile/{segment(bob.user_id)}"
    assert await alice.get(path) == {"displayname": "Bob"}
    assert await alice.get(f"{path}/displayname") == {"displayname": "Bob"}
    nobody = segment(f"@nobody:{theirs.name}")
    assert await alice.refused("GET", f"/v3/profile/{nobody}") == (404, "M_NOT_FOUND")
    await theirs.stop()
    assert await alice.refused("GET", path) == (404, "M_NOT_FOUND")


async def test_a_silent_servers_user_is_told_by_the_room(homings: Homings) -> None:
    ours, theirs = await homings(2)
    alice, bob = await ours.register(), await theirs.register()
    await bob.put(f"/v3/profile/{segment(bob.user_id)}/displayname", {"displayname": "Bob"})
    room = await create(alice, preset="public_chat", room_alias_name="tea")
    await bob.post(f"/v3/join/{quote(f'#tea:{ours.name}', safe='')}", {})
    assert room
    await theirs.stop()
    assert await alice.get(f"/v3/profile/{segment(bob.user_id)}") == {"displayname": "Bob"}


async def test_the_list_of_another_server(homings: Homings) -> None:
    ours, theirs = await homings(2)
    alice, bob = await ours.register(), await theirs.register()
    await create(bob, name="Tea", visibility="public")
    await create(bob, name="Cake", visibility="public")
    await create(bob, name="Secret", preset="private_chat")
    server = f"server={quote(theirs.name)}"
    listed = await alice.get(f"/v3/publicRooms?{server}")
    assert {room["name"] for room in listed["chunk"]} == {"Tea", "Cake"}
    first = await alice.get(f"/v3/publicRooms?limit=1&{server}")
    second = await alice.get(f"/v3/publicRooms?limit=1&since={first['next_batch']}&{server}")
    assert {page["chunk"][0]["name"] for page in (first, second)} == {"Tea", "Cake"}
    found = await alice.post(f"/v3/publicRooms?{server}", {"filter": {"generic_search_term": "te"}})
    assert [room["name"] for room in found["chunk"]] == ["Tea"]
    assert await alice.refused("GET", "/v3/publicRooms?server=no%20name") == (400, "M_INVALID_PARAM")
    await theirs.stop()
    assert (await alice.refused("GET", f"/v3/publicRooms?{server}"))[0] == 404


async def test_spaces_across_servers(homings: Homings) -> None:
    ours, theirs = await homings(2)
    alice, bob = await ours.register(), await theirs.register()
    space = await create(alice, name="All", preset="public_chat", creation_content={"type": "m.space"})
    inner = await create(bob, name="Inner", preset="public_chat", creation_content={"type": "m.space"})
    leaf = await create(bob, name="Leaf", preset="public_chat")
    secret = await create(bob, name="Secret", preset="private_chat")
    for parent, child, owner, client in (
        (space, inner, theirs, alice),
        (inner, leaf, theirs, bob),
        (inner, secret, theirs, bob),
    ):
        await client.put(f"/v3/rooms/{parent}/state/m.space.child/{child}", {"via": [owner.name]})
    tree = await alice.get(f"/v1/rooms/{space}/hierarchy")
    assert [room["name"] for room in tree["rooms"]] == ["All", "Inner", "Leaf"]
    assert len(tree["rooms"][1]["children_state"]) == 2
    summary = await alice.get(f"/v1/room_summary/{leaf}?via={quote(theirs.name)}")
    assert summary["name"] == "Leaf"
    hidden = f"/v1/room_summary/{secret}?via={quote(theirs.name)}"
    assert await alice.refused("GET", hidden) == (404, "M_NOT_FOUND")
    await theirs.stop()
    tree = await alice.get(f"/v1/rooms/{space}/hierarchy")
    assert [room["name"] for room in tree["rooms"]] == ["All"]


async def test_whose_token_it_is(homings: Homings) -> None:
    ours = (await homings(1))[0]
    alice = await ours.register()
    made = await alice.post(f"/v3/user/{segment(alice.user_id)}/openid/request_token", {})
    anyone = ours.anonymous()
    path = "/_matrix/federation/v1/openid/userinfo?access_token="
    assert await anyone.get(f"{path}{made['access_token']}") == {"sub": alice.user_id}
    assert await anyone.refused("GET", f"{path}wrong") == (401, "M_UNKNOWN_TOKEN")


async def test_queries_of_other_types_are_for_servers_and_unknown(homings: Homings) -> None:
    (ours,) = await homings(1)
    alice = await ours.register()
    assert (await alice.refused("GET", "/_matrix/federation/v1/query/weather"))[0] == 401
