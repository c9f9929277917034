"""How rooms are found, replaced and grouped: aliases, the public list, summaries, upgrades, spaces."""

from urllib.parse import unquote

import pytest

from homeserver.core.room_versions import ROOM_VERSIONS
from tests.client_api.test_room_stories import create, put, say
from tests.kit.server import RunningServer, segment

TEA, NONE = "%23tea:localhost", "%23none:localhost"


async def test_aliases(server: RunningServer) -> None:
    alice, bob = await server.register(), await server.register()
    room = await create(alice, room_alias_name="tea")
    room_id = room.replace("%21", "!").replace("%3A", ":")
    found = await server.anonymous().get(f"/v3/directory/room/{TEA}")
    assert found == {"room_id": room_id, "servers": ["localhost"]}
    assert await bob.post(f"/v3/join/{TEA}") == {"room_id": room_id}
    assert await bob.refused("POST", f"/v3/join/{NONE}", {}) == (404, "M_NOT_FOUND")
    assert await bob.refused("POST", "/v3/join/tea", {}) == (400, "M_INVALID_PARAM")
    body = {"room_id": room_id}
    assert await alice.refused("PUT", f"/v3/directory/room/{TEA}", body) == (409, "M_UNKNOWN")
    assert await alice.refused("PUT", "/v3/directory/room/tea", body) == (400, "M_INVALID_PARAM")
    assert await alice.refused("PUT", "/v3/directory/room/%23tea:else.org", body) == (400, "M_INVALID_PARAM")
    assert await alice.refused("PUT", f"/v3/directory/room/{NONE}", {}) == (400, "M_MISSING_PARAM")
    eve = await server.register()
    assert await eve.refused("PUT", f"/v3/directory/room/{NONE}", body) == (403, "M_FORBIDDEN")
    await bob.put("/v3/directory/room/%23cake:localhost", body)
    assert (await alice.get(f"/v3/rooms/{room}/aliases"))["aliases"] == ["#cake:localhost", "#tea:localhost"]
    assert await bob.refused("DELETE", f"/v3/directory/room/{TEA}") == (403, "M_FORBIDDEN")
    await bob.delete("/v3/directory/room/%23cake:localhost")
    await alice.delete(f"/v3/directory/room/{TEA}")
    assert await alice.refused("GET", f"/v3/directory/room/{TEA}") == (404, "M_NOT_FOUND")
    assert await alice.get(f"/v3/rooms/{room}/state/m.room.canonical_alias") == {}


async def test_the_public_list(server: RunningServer) -> None:
    alice, bob = await server.register(), await server.register()
    tea = await create(alice, name="Tea", topic="leaves", visibility="public")
    space = await create(alice, name="All", visibility="public", creation_content={"type": "m.space"})
    hidden = await create(alice, name="Secret")
    await bob.post(f"/v3/join/{tea}")
    listed = await server.anonymous().get("/v3/publicRooms")
    assert [room["name"] for room in listed["chunk"]] == ["Tea", "All"]
    assert listed["chunk"][0]["num_joined_members"] == 2
    assert listed["total_room_count_estimate"] == 2
    first = await bob.post("/v3/publicRooms", {"limit": 1})
    second = await bob.post("/v3/publicRooms", {"limit": 1, "since": first["next_batch"]})
    assert [room["name"] for room in second["chunk"]] == ["All"]
    assert "next_batch" not in second
    assert "prev_batch" in second
    for wanted, names in (
        ({"generic_search_term": "LEAVES"}, ["Tea"]),
        ({"room_types": ["m.space"]}, ["All"]),
        ({"room_types": [None]}, ["Tea"]),
        ({"generic_search_term": "nothing"}, []),
    ):
        answer = await bob.post("/v3/publicRooms", {"filter": wanted})
        assert [room["name"] for room in answer["chunk"]] == names
    assert await bob.refused("POST", "/v3/publicRooms", {"since": "x"}) == (400, "M_INVALID_PARAM")
    assert await bob.refused("PUT", f"/v3/directory/list/room/{tea}", {}) == (403, "M_FORBIDDEN")
    await alice.put(f"/v3/directory/list/room/{hidden}", {"visibility": "public"})
    await alice.put(f"/v3/directory/list/room/{tea}", {"visibility": "private"})
    await alice.put(f"/v3/directory/list/room/{space}", {"visibility": "private"})
    assert (await bob.get(f"/v3/directory/list/room/{tea}")) == {"visibility": "private"}
    assert [room["name"] for room in (await bob.get("/v3/publicRooms"))["chunk"]] == ["Secret"]


async def test_summaries(server: RunningServer) -> None:
    alice, bob = await server.register(), await server.register()
    crypt = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    room = await create(alice, name="Tea", room_alias_name="tea", initial_state=[crypt])
    told = await bob.get(f"/v1/room_summary/{TEA}")
    assert (told["name"], told["num_joined_members"], told["join_rule"]) == ("Tea", 1, "public")
    assert (told["room_version"], told["encryption"]) == ("12", "m.megolm.v1.aes-sha2")
    assert "membership" not in told
    assert (await alice.get(f"/unstable/im.nheko.summary/summary/{room}"))["membership"] == "join"
    assert (await server.anonymous().get(f"/v1/room_summary/{room}"))["name"] == "Tea"
    shut = await create(alice, preset="private_chat")
    assert await bob.refused("GET", f"/v1/room_summary/{shut}") == (404, "M_NOT_FOUND")
    await alice.post(f"/v3/rooms/{shut}/invite", {"user_id": bob.user_id})
    assert (await bob.get(f"/v1/room_summary/{shut}"))["membership"] == "invite"


@pytest.mark.parametrize(
    ("old", "new"), [("1", "6"), ("1", "12"), ("10", "11"), ("12", "12"), ("12", "9"), ("12", "1")]
)
async def test_upgrades(server: RunningServer, old: str, new: str) -> None:
    assert {old, new} <= ROOM_VERSIONS.keys()
    alice, bob, eve = [await server.register() for _ in range(3)]
    room = await create(
        alice, room_version=old, name="Tea", room_alias_name="tea", visibility="public", topic="leaves"
    )
    await bob.post(f"/v3/join/{room}")
    await alice.post(f"/v3/rooms/{room}/ban", {"user_id": eve.user_id})
    levels = await alice.get(f"/v3/rooms/{room}/state/m.room.power_levels")
    levels["users"][bob.user_id] = 50
    await put(alice, room, "m.room.power_levels", levels)
    path = f"/v3/rooms/{room}/upgrade"
    nowhere = f"/v3/rooms/{segment('!none:localhost')}/upgrade"
    assert await alice.refused("POST", nowhere, {"new_version": new}) == (404, "M_NOT_FOUND")
    itself = {"body": "moved", "replacement_room": unquote(room)}
    for place in ("state/m.room.tombstone", "send/m.room.tombstone/1"):
        assert await alice.refused("PUT", f"/v3/rooms/{room}/{place}", itself) == (400, "M_INVALID_PARAM")
    assert await alice.refused("POST", path, {"new_version": "0"}) == (400, "M_UNSUPPORTED_ROOM_VERSION")
    assert await eve.refused("POST", path, {"new_version": new}) == (403, "M_FORBIDDEN")
    assert await bob.refused("POST", path, {"new_version": new}) == (403, "M_FORBIDDEN")
    new_id = (await alice.post(path, {"new_version": new}))["replacement_room"]
    state = {
        (event["type"], event["state_key"]): event["content"]
        for event in await alice.get(f"/v3/rooms/{segment(new_id)}/state")
    }
    create_event = state["m.room.create", ""]
    assert create_event["room_version"] == new
    assert create_event["predecessor"]["room_id"] == room.replace("%21", "!").replace("%3A", ":")
    assert state["m.room.name", ""] == {"name": "Tea"}
    assert state["m.room.topic", ""]["topic"] == "leaves"
    assert state["m.room.join_rules", ""] == {"join_rule": "public"}
    assert state["m.room.guest_access", ""] == {"guest_access": "forbidden"}  # what the old room left unsaid
    assert state["m.room.member", eve.user_id]["membership"] == "ban"
    users = state["m.room.power_levels", ""]["users"]
    assert users[bob.user_id] == 50
    assert users.get(alice.user_id) == (None if new == "12" else 100)
    tombstone = await alice.get(f"/v3/rooms/{room}/state/m.room.tombstone", format="event")
    assert tombstone["content"]["replacement_room"] == new_id
    assert create_event["predecessor"].get("event_id") in (None, tombstone["event_id"])
    assert (await alice.get(f"/v3/directory/room/{TEA}"))["room_id"] == new_id
    assert await alice.get(f"/v3/rooms/{room}/state/m.room.canonical_alias") == {}
    assert state["m.room.canonical_alias", ""] == {"alias": "#tea:localhost"}
    assert [one["room_id"] for one in (await bob.get("/v3/publicRooms"))["chunk"]] == [new_id]
    old_levels = await alice.get(f"/v3/rooms/{room}/state/m.room.power_levels")
    assert (old_levels["events_default"], old_levels["invite"]) == (50, 50)
    await bob.post(f"/v3/join/{segment(new_id)}")
    await say(alice, segment(new_id), "we have moved")


async def test_creators_of_a_replacement(server: RunningServer) -> None:
    alice, bob = await server.register(), await server.register()
    room = await create(alice, room_version="11")
    levels = await alice.get(f"/v3/rooms/{room}/state/m.room.power_levels")
    levels["users"][bob.user_id] = 100
    await put(alice, room, "m.room.power_levels", levels)
    body = {"new_version": "12", "additional_creators": [bob.user_id]}
    new = segment((await alice.post(f"/v3/rooms/{room}/upgrade", body))["replacement_room"])
    content = await alice.get(f"/v3/rooms/{new}/state/m.room.create")
    assert content["additional_creators"] == [bob.user_id]
    assert (await alice.get(f"/v3/rooms/{new}/state/m.room.power_levels"))["users"] == {}
    bad = {"new_version": "12", "additional_creators": ["bob"]}
    assert await alice.refused("POST", f"/v3/rooms/{new}/upgrade", bad) == (400, "M_INVALID_PARAM")


async def test_a_room_with_many_bans_and_odd_levels(server: RunningServer) -> None:
    alice = await server.register()
    bans = [
        {"type": "m.room.member", "state_key": f"@bad{n}:else.org", "content": {"membership": "ban"}}
        for n in range(150)
    ]
    levels = {"users": {alice.user_id: "100"}, "events": {"m.room.tombstone": "60"}, "notifications": 3}
    room = await create(alice, room_version="9", initial_state=bans, power_level_content_override=levels)
    answer = await alice.post(f"/v3/rooms/{room}/upgrade", {"new_version": "12"})
    new = segment(answer["replacement_room"])
    members = await alice.get(f"/v3/rooms/{new}/members", membership="ban")
    assert len(members["chunk"]) == 150
    content = await alice.get(f"/v3/rooms/{new}/state/m.room.power_levels")
    assert content["users"] == {}
    assert content["events"]["m.room.tombstone"] == 150
    assert content["notifications"] == {}


async def test_what_stands_below_a_space(server: RunningServer) -> None:
    alice, bob = await server.register(), await server.register()
    kind = {"type": "m.space"}
    top = await create(alice, name="top", creation_content=kind)
    sub = await create(alice, name="sub", creation_content=kind)
    rooms = {name: await create(alice, name=name) for name in ("first", "second", "deep")}
    secret = await create(alice, name="secret", preset="private_chat")

    async def add(parent: str, child: str, **content: object) -> None:
        name = child.replace("%21", "!").replace("%3A", ":")
        await put(alice, parent, "m.space.child", {"via": ["localhost"], **content}, name)

    await add(top, rooms["second"], order="b", suggested=True)
    await add(top, sub, order="a")
    await add(top, rooms["first"])
    await add(top, secret)
    await add(sub, rooms["deep"])
    await add(sub, top)  # a circle
    path = f"/v1/rooms/{top}/hierarchy"
    told = await bob.get(path)
    assert [room["name"] for room in told["rooms"]] == ["top", "sub", "deep", "second", "first"]
    assert len(told["rooms"][0]["children_state"]) == 4
    assert [room["name"] for room in (await alice.get(path))["rooms"]][-1] == "secret"
    assert [room["name"] for room in (await bob.get(path, max_depth=1))["rooms"]] == [
        "top",
        "sub",
        "second",
        "first",
    ]
    suggested = await bob.get(path, suggested_only="true")
    assert [room["name"] for room in suggested["rooms"]] == ["top", "second"]
    first = await bob.get(path, limit=3)
    second = await bob.get(path, limit=3, **{"from": first["next_batch"]})
    assert [room["name"] for room in first["rooms"] + second["rooms"]] == [
        room["name"] for room in told["rooms"]
    ]
    changed = await bob.refused("GET", path, max_depth=2, **{"from": first["next_batch"]})
    assert changed == (400, "M_INVALID_PARAM")
    assert await bob.refused("GET", f"/v1/rooms/{secret}/hierarchy") == (403, "M_FORBIDDEN")


async def test_hostile_texts(server: RunningServer) -> None:
    alice = await server.register()
    room = await create(alice)
    relation = {"m.relates_to": {"rel_type": "m.thread\x00", "event_id": "$\x00"}, "body": "\x00"}
    await alice.put(f"/v3/rooms/{room}/send/m.room.message/1", relation)
    redaction = {"redacts": "$a\x00"}
    path = f"/v3/rooms/{room}/send/m.room.redaction/2"
    assert await alice.refused("PUT", path, redaction) == (400, "M_BAD_JSON")
    member = f"/v3/rooms/{room}/state/m.room.member/{alice.user_id}"
    via = {"membership": "join", "join_authorised_via_users_server": "@a\x00:b"}
    assert await alice.refused("PUT", member, via) == (400, "M_BAD_JSON")
    third = {"membership": "invite", "third_party_invite": {"signed": {"token": "\x00"}}}
    assert await alice.refused("PUT", member, third) == (400, "M_BAD_JSON")
    assert await alice.refused("PUT", member, {"membership": {}}) == (400, "M_BAD_JSON")
    for name in ("types", "senders", "related_by_senders"):
        query = {"dir": "b", "filter": f'{{"{name}":["a\\u0000"]}}'}
        messages = f"/v3/rooms/{room}/messages"
        assert await alice.refused("GET", messages, **query) == (400, "M_BAD_JSON")


async def test_what_users_set_for_a_room_goes_along(server: RunningServer) -> None:
    alice, bob = await server.register(), await server.register()
    room = unquote(await create(alice))
    await bob.post(f"/v3/join/{segment(room)}")
    people = (alice, bob)
    data = {user: f"/v3/user/{segment(user.user_id)}" for user in people}
    for user in people:
        await user.put(f"{data[user]}/rooms/{segment(room)}/tags/m.favourite", {"order": 0.5})
        await user.put(f"{data[user]}/account_data/m.direct", {"@x:y": [room], "@z:y": ["!other:y"]})
        await user.put(f"/v3/pushrules/global/room/{segment(room)}", {"actions": []})
    said = await alice.post(f"/v3/rooms/{segment(room)}/upgrade", {"new_version": "12"})
    new = said["replacement_room"]
    for _ in range(2):
        await bob.post(f"/v3/join/{segment(new)}")
    for user in people:
        tags = (await user.get(f"{data[user]}/rooms/{segment(new)}/tags"))["tags"]
        assert tags == {"m.favourite": {"order": 0.5}}
        direct = await user.get(f"{data[user]}/account_data/m.direct")
        assert direct == {"@x:y": [room, new], "@z:y": ["!other:y"]}
        assert (await user.get(f"/v3/pushrules/global/room/{segment(new)}"))["actions"] == []


async def test_a_room_cannot_claim_what_it_does_not_replace(server: RunningServer) -> None:
    alice, eve = await server.register(), await server.register()
    room = unquote(await create(alice))
    tags = f"/v3/user/{segment(alice.user_id)}/rooms"
    await alice.put(f"{tags}/{segment(room)}/tags/m.favourite", {})
    claim = {"predecessor": {"room_id": room, "event_id": "$x"}}
    trap = await create(eve, creation_content=claim)
    await alice.post(f"/v3/join/{trap}")
    assert (await alice.get(f"{tags}/{trap}/tags"))["tags"] == {}
