"""What application services are asked: their users, aliases and networks; and the lists of rooms that they keep."""

import asyncio

import pytest
from aiohttp import web

from tests.kit.application_service import listening, registered, registration_of
from tests.kit.server import plain_config, running, segment

YMCA = {
    "user_fields": ["nick"],
    "location_fields": ["hall"],
    "icon": "mxc://localhost/ymca",
    "field_types": {
        "nick": {"regexp": ".*", "placeholder": "nick"},
        "hall": {"regexp": ".*", "placeholder": "hall"},
    },
}


@pytest.fixture
async def irc():
    async with listening("irc") as service:
        yield service


@pytest.fixture
async def xmpp():
    async with listening("xmpp") as service:
        yield service


@pytest.fixture
async def server(pg_url, irc, xmpp, tmp_path):
    one = registration_of("irc", users=["@_irc_"], aliases=["#_irc_"], url=irc.url, protocols=["ymca"])
    two = registration_of("xmpp", url=xmpp.url, protocols=["ymca"])
    section = registered(tmp_path, one, two, query_seconds=1.0)
    async with running(pg_url, plain_config(tmp_path, application_services=section)) as server:
        yield server


def making(service, server):
    """It makes the users that it is asked for, as long as their names end with "real", and aliases for a room."""
    client = service.client(server)

    async def answer(request, told):
        kind, name = request.path.split("/")[-2:]
        if kind == "users" and name.partition(":")[0].endswith("real"):
            localpart = name[1:].partition(":")[0]
            body = {"type": "m.login.application_service", "username": localpart, "inhibit_login": True}
            await client.post("/v3/register", body)
            return web.json_response({})
        if kind == "rooms" and name.partition(":")[0].endswith("real"):
            room_id = (await client.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
            await client.put(f"/v3/directory/room/{segment(name)}", {"room_id": room_id})
            return web.json_response({})
        if "/transactions/" in request.path:
            return web.json_response({})
        return web.json_response({"errcode": "M_NOT_FOUND"}, status=404)

    service.answer = answer


def asked(service, part):
    return [path for _, path in service.asked if part in path]


async def test_inviting_a_user_who_is_made_then(server, irc):
    making(irc, server)
    alice = await server.register("alice")
    room_id = (await alice.post("/v3/createRoom"))["room_id"]
    await alice.post(f"/v3/rooms/{room_id}/invite", {"user_id": "@_irc_real:localhost"})
    assert asked(irc, "/users/") == ["/_matrix/app/v1/users/%40_irc_real%3Alocalhost"]
    await irc.until(lambda: any(event.get("state_key") == "@_irc_real:localhost" for event in irc.events))
    await alice.get("/v3/profile/@_irc_real:localhost")
    assert len(asked(irc, "/users/")) == 1, "who is there is not asked for"


async def test_profiles(server, irc):
    making(irc, server)
    alice = await server.register("alice")
    assert await alice.get("/v3/profile/@_irc_2real:localhost") == {}
    assert await alice.refused("GET", "/v3/profile/@_irc_nobody:localhost") == (404, "M_NOT_FOUND")
    assert await alice.refused("GET", "/v3/profile/@nobody:localhost") == (404, "M_NOT_FOUND")
    assert len(asked(irc, "/users/")) == 2


async def test_aliases(server, irc):
    making(irc, server)
    alice = await server.register("alice")
    joined = await alice.post("/v3/join/%23_irc_real:localhost")
    found = await alice.get("/v3/directory/room/%23_irc_real:localhost")
    assert found["room_id"] == joined["room_id"]
    assert len(asked(irc, "/rooms/")) == 1
    refusal = await alice.refused("GET", "/v3/directory/room/%23_irc_none:localhost")
    assert refusal == (404, "M_NOT_FOUND")


async def test_of_many_who_ask_one_does(server, irc):
    going = asyncio.Event()

    async def slow(request, told):
        await asyncio.wait_for(going.wait(), 5)
        return web.json_response({"errcode": "M_NOT_FOUND"}, status=404)

    irc.answer = slow
    alice = await server.register("alice")
    path = "/v3/directory/room/%23_irc_x:localhost"
    waiting = [asyncio.create_task(alice.refused("GET", path)) for _ in range(5)]
    while not irc.asked:  # noqa: ASYNC110 (nobody tells when a request has come and waits)
        await asyncio.sleep(0.01)
    going.set()
    assert await asyncio.gather(*waiting) == [(404, "M_NOT_FOUND")] * 5
    assert len(asked(irc, "/rooms/")) < 5


async def test_a_silent_service(server, irc):
    async def silent(request, told):
        await asyncio.sleep(5)
        return web.json_response({})

    irc.answer = silent
    alice = await server.register("alice")
    refusal = await alice.refused("GET", "/v3/directory/room/%23_irc_x:localhost")
    assert refusal == (408, "M_UNKNOWN")


@pytest.mark.parametrize(
    "answer", [lambda: web.Response(status=500), lambda: web.Response(text="x" * 2_000_000)]
)
async def test_a_broken_service(server, irc, answer):
    async def broken(request, told):
        return answer()

    irc.answer = broken
    alice = await server.register("alice")
    status, _ = await alice.refused("GET", "/v3/directory/room/%23_irc_x:localhost")
    assert status in (404, 408)


def with_networks(service, *, instances, entries=()):
    async def answer(request, told):
        if "/thirdparty/protocol/" in request.path:
            return web.json_response({**YMCA, "instances": list(instances)})
        if "/thirdparty/" in request.path:
            return web.json_response(list(entries))
        return web.json_response({})

    service.answer = answer


async def test_networks_of_several_services_are_merged(server, irc, xmpp):
    one = {"desc": "one", "network_id": "n1", "fields": {}}
    two = {"desc": "two", "network_id": "n2", "fields": {}}
    with_networks(irc, instances=[one, "nonsense"])
    with_networks(xmpp, instances=[two])
    alice = await server.register("alice")
    found = await alice.get("/v3/thirdparty/protocols")
    named = [{**one, "instance_id": "irc|n1"}, {**two, "instance_id": "xmpp|n2"}]
    assert found == {"ymca": {**YMCA, "instances": named}}
    assert await alice.get("/v3/thirdparty/protocol/ymca") == found["ymca"]
    assert len(asked(irc, "/protocol/")) == 1, "remembered"
    assert await alice.refused("GET", "/v3/thirdparty/protocol/none") == (404, "M_NOT_FOUND")


async def test_searching_networks(server, irc, xmpp):
    person = {"userid": "@_irc_a:localhost", "protocol": "ymca", "fields": {"nick": "a"}}
    place = {"alias": "#_irc_a:localhost", "protocol": "ymca", "fields": {"hall": "h"}}
    with_networks(irc, instances=[], entries=[person, place, {"userid": 5}])
    with_networks(xmpp, instances=[], entries=[])
    alice = await server.register("alice")
    assert await alice.get("/v3/thirdparty/user/ymca", nick="a") == [person]
    assert await alice.get("/v3/thirdparty/location/ymca", hall="h") == [place]
    assert await alice.get("/v3/thirdparty/user", userid="@_irc_a:localhost") == [person]
    assert await alice.get("/v3/thirdparty/location", alias="#_irc_a:localhost") == [place]
    assert asked(irc, "/thirdparty/")[0] == "/_matrix/app/v1/thirdparty/user/ymca?nick=a"
    assert "access_token" not in str(irc.asked)


async def test_networks_of_services_that_fail(server, irc, xmpp):
    async def broken(request, told):
        return web.Response(text="[")

    irc.answer = xmpp.answer = broken
    alice = await server.register("alice")
    assert await alice.get("/v3/thirdparty/protocols") == {}
    assert await alice.refused("GET", "/v3/thirdparty/user/ymca") == (404, "M_NOT_FOUND")


async def test_lists_of_networks(server, irc):
    alice = await server.register("alice")
    service = irc.client(server)
    ours = (await alice.post("/v3/createRoom", {"preset": "public_chat", "visibility": "public"}))["room_id"]
    theirs = (await alice.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
    path = f"/v3/directory/list/appservice/n1/{theirs}"
    assert await alice.refused("PUT", path, {"visibility": "public"}) == (403, "M_FORBIDDEN")
    assert await service.refused("PUT", path, {"visibility": "hidden"}) == (400, "M_INVALID_PARAM")
    await service.put(path, {"visibility": "public"})

    async def listed(**wanted):
        found = (await alice.post("/v3/publicRooms", wanted))["chunk"]
        return {room["room_id"] for room in found}

    assert await listed() == {ours}
    assert await listed(third_party_instance_id="irc|n1") == {theirs}
    assert await listed(third_party_instance_id="irc|n2") == set()
    assert await listed(include_all_networks=True) == {ours, theirs}
    both = {"include_all_networks": True, "third_party_instance_id": "irc|n1"}
    assert await alice.refused("POST", "/v3/publicRooms", both) == (400, "M_INVALID_PARAM")
    await service.put(path, {"visibility": "private"})
    assert await listed(third_party_instance_id="irc|n1") == set()
    await service.put(path, {"visibility": "public"})
    await service.delete(path)
    assert await listed(include_all_networks=True) == {ours}
