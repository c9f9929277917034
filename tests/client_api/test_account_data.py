"""What clients keep here: account data, tags, filters."""

import asyncio

import pytest

from tests.kit.server import segment

OWN = "/v3/user/@alice:localhost"


@pytest.fixture
async def alice(server):
    return await server.register("alice")


async def test_global_data(alice):
    assert await alice.refused("GET", f"{OWN}/account_data/org.example") == (404, "M_NOT_FOUND")
    await alice.put(f"{OWN}/account_data/org.example", {"a": 1.5, "b": None})
    assert await alice.get(f"{OWN}/account_data/org.example") == {"a": 1.5, "b": None}
    await alice.put(f"{OWN}/account_data/org.example", {})
    assert await alice.get(f"{OWN}/account_data/org.example") == {}


async def test_data_of_a_room_is_apart(alice):
    room = (await alice.post("/v3/createRoom", {}))["room_id"]
    path = f"{OWN}/rooms/{segment(room)}/account_data/org.example"
    await alice.put(f"{OWN}/account_data/org.example", {"global": True})
    assert await alice.refused("GET", path) == (404, "M_NOT_FOUND")
    await alice.put(path, {"global": False})
    assert await alice.get(path) == {"global": False}
    assert await alice.get(f"{OWN}/account_data/org.example") == {"global": True}


async def test_what_is_refused(server, alice):
    room = (await alice.post("/v3/createRoom", {}))["room_id"]
    for path, body, refusal in (
        (f"{OWN}/account_data/m.fully_read", {}, (405, "M_BAD_JSON")),
        (f"{OWN}/account_data/m.push_rules", {}, (405, "M_BAD_JSON")),
        (f"{OWN}/rooms/{room}/account_data/m.fully_read", {}, (405, "M_BAD_JSON")),
        (f"{OWN}/rooms/{room}/account_data/m.push_rules", {}, (405, "M_BAD_JSON")),
        (f"{OWN}/rooms/!none:localhost/account_data/x", {}, (404, "M_NOT_FOUND")),
        (f"{OWN}/rooms/none/account_data/x", {}, (400, "M_INVALID_PARAM")),
        (f"{OWN}/account_data/{'x' * 256}", {}, (400, "M_INVALID_PARAM")),
        (f"{OWN}/account_data/x", b"[]", (400, "M_BAD_JSON")),
        (f"{OWN}/account_data/x", b"", (400, "M_NOT_JSON")),
        ("/v3/user/@bob:localhost/account_data/x", {}, (403, "M_FORBIDDEN")),
    ):
        assert await alice.refused("PUT", path, body) == refusal, path
    eve = await server.register("eve")
    assert await eve.refused("GET", f"{OWN}/account_data/x") == (403, "M_FORBIDDEN")


async def test_every_change_has_a_number_of_its_own(server, alice):
    await asyncio.gather(*[alice.put(f"{OWN}/account_data/n{n}", {"n": n}) for n in range(20)])
    async with server.database.read() as conn:
        assert await conn.fetchval("SELECT count(DISTINCT position) FROM account_data") == 20


async def test_push_rules_can_be_read(alice):
    rules = await alice.get("/v3/pushrules/")
    assert await alice.get(f"{OWN}/account_data/m.push_rules") == rules
    assert await alice.get("/v3/pushrules/global/") == rules["global"]


async def test_tags(server, alice):
    room = (await alice.post("/v3/createRoom", {}))["room_id"]
    path = f"{OWN}/rooms/{segment(room)}/tags"
    assert await alice.get(path) == {"tags": {}}
    await alice.put(f"{path}/u.work", {"order": 0.5})
    await alice.put(f"{path}/{segment('u.ü/x')}", {})
    assert await alice.get(path) == {"tags": {"u.work": {"order": 0.5}, "u.ü/x": {}}}
    await alice.delete(f"{path}/u.work")
    await alice.delete(f"{path}/u.work")
    assert await alice.get(path) == {"tags": {"u.ü/x": {}}}
    assert await alice.get(f"{OWN}/rooms/{segment(room)}/account_data/m.tag") == {"tags": {"u.ü/x": {}}}
    assert await alice.refused("PUT", f"{path}/x", {"order": "first"}) == (400, "M_BAD_JSON")
    assert await alice.refused("PUT", f"{path}/{'x' * 256}", {}) == (400, "M_INVALID_PARAM")
    eve = await server.register("eve")
    assert await eve.refused("GET", path) == (403, "M_FORBIDDEN")


async def test_tags_added_at_once_are_all_there(alice):
    room = (await alice.post("/v3/createRoom", {}))["room_id"]
    path = f"{OWN}/rooms/{segment(room)}/tags"
    await asyncio.gather(*[alice.put(f"{path}/u.{n}", {}) for n in range(10)])
    assert len((await alice.get(path))["tags"]) == 10


async def test_tags_over_nonsense(alice):
    room = (await alice.post("/v3/createRoom", {}))["room_id"]
    await alice.put(f"{OWN}/rooms/{segment(room)}/account_data/m.tag", {"tags": [1]})
    path = f"{OWN}/rooms/{segment(room)}/tags"
    assert await alice.get(path) == {"tags": {}}
    await alice.put(f"{path}/u.x", {})
    assert await alice.get(path) == {"tags": {"u.x": {}}}


async def test_filters_are_kept(server, alice):
    definition = {"room": {"timeline": {"limit": 5, "types": ["m.room.*"]}}, "org.example": 1}
    filter_id = (await alice.post(f"{OWN}/filter", definition))["filter_id"]
    assert await alice.get(f"{OWN}/filter/{filter_id}") == definition
    again = await asyncio.gather(*[alice.post(f"{OWN}/filter", definition) for _ in range(3)])
    assert {answer["filter_id"] for answer in again} == {filter_id}
    others = await asyncio.gather(
        *[alice.post(f"{OWN}/filter", {"presence": {"limit": n}}) for n in range(5)]
    )
    assert len({answer["filter_id"] for answer in others}) == 5
    for unknown in ("77", "-1", "x", "99999999999999999999", "\u0663"):
        assert await alice.refused("GET", f"{OWN}/filter/{segment(unknown)}") == (404, "M_NOT_FOUND")
    eve = await server.register("eve")
    assert await eve.refused("GET", f"{OWN}/filter/{filter_id}") == (403, "M_FORBIDDEN")
    assert await eve.refused("GET", f"/v3/user/@eve:localhost/filter/{filter_id}") == (404, "M_NOT_FOUND")
    assert await alice.refused("POST", f"{OWN}/filter", {"room": 7}) == (400, "M_BAD_JSON")
    huge = {"org.example": "x" * 70_000}
    assert await alice.refused("POST", f"{OWN}/filter", huge) == (413, "M_TOO_LARGE")
