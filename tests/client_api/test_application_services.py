"""What an application service may do beyond what clients may [as "Client-Server API Extensions"]."""

import pytest
import yaml

from homeserver.app import config as options
from homeserver.core.rate import Rate
from tests.kit.application_service import registration_of
from tests.kit.server import PASSWORD, Client, plain_config, running

AS_TOKEN = "as_token_of_irc"


@pytest.fixture
def config(tmp_path):
    irc = registration_of(
        "irc", users=("@_irc_.*",), aliases=("#_irc_.*",), as_token=AS_TOKEN, rate_limited=False
    )
    other = registration_of("xmpp", users=("@_xmpp_.*",), aliases=())
    for registration in (irc, other):
        (tmp_path / f"{registration['id']}.yaml").write_text(yaml.safe_dump(registration))
    files = options.ApplicationServices(files=["irc.yaml", "xmpp.yaml"])
    return plain_config(tmp_path, application_services=files)


@pytest.fixture
async def server(pg_url, config):
    async with running(pg_url, config) as server:
        yield server


@pytest.fixture
def service(server):
    return Client(server.url, server.http, "@irc_sender:localhost", "", AS_TOKEN)


async def ghost(service, name="_irc_anna", **more):
    body = {"type": "m.login.application_service", "username": name, **more}
    return await service.post("/v3/register", body)


async def test_the_service_is_a_user_itself(service):
    assert await service.get("/v3/account/whoami") == {
        "user_id": "@irc_sender:localhost",
        "is_guest": False,
    }
    assert (await service.get("/v3/account/whoami", access_token=AS_TOKEN))["user_id"] == service.user_id


async def test_registering_and_acting_as_a_user(service):
    made = await ghost(service)
    assert made["user_id"] == "@_irc_anna:localhost"
    assert made["device_id"]
    whoami = await service.get("/v3/account/whoami", user_id=made["user_id"])
    assert whoami == {"user_id": made["user_id"], "is_guest": False}
    whoami = await service.get("/v3/account/whoami", user_id=made["user_id"], device_id=made["device_id"])
    assert whoami["device_id"] == made["device_id"]


async def test_registering_without_a_login(server, service):
    assert await ghost(service, inhibit_login=True) == {
        "user_id": "@_irc_anna:localhost",
        "home_server": "localhost",
    }
    assert await service.refused(
        "POST", "/v3/register", {"type": "m.login.application_service", "username": "_irc_anna"}
    ) == (400, "M_USER_IN_USE")
    assert await server.anonymous().get("/v3/profile/@_irc_anna:localhost") == {}  # services give names


@pytest.mark.parametrize(
    ("query", "refusal"),
    [
        ({"user_id": "@alice:localhost"}, (403, "M_FORBIDDEN")),
        ({"user_id": "@_xmpp_x:localhost"}, (403, "M_FORBIDDEN")),
        ({"user_id": "@_irc_nobody:localhost"}, (403, "M_FORBIDDEN")),  # not registered
        ({"user_id": "@_irc_x:elsewhere"}, (403, "M_FORBIDDEN")),
        ({"device_id": "NONE"}, (400, "M_UNKNOWN_DEVICE")),
    ],
)
async def test_whom_it_cannot_speak_for(service, query, refusal):
    assert await service.refused("GET", "/v3/account/whoami", **query) == refusal


@pytest.mark.parametrize(
    ("token", "refusal"), [(None, (401, "M_MISSING_TOKEN")), ("wrong", (401, "M_UNKNOWN_TOKEN"))]
)
async def test_the_token_must_be_the_services(server, token, refusal):
    client = Client(server.url, server.http, token=token)
    kind = "m.login.application_service"
    assert await client.refused("POST", "/v3/register", {"type": kind, "username": "_irc_x"}) == refusal
    login = {"type": kind, "identifier": {"type": "m.id.user", "user": "_irc_x"}}
    assert await client.refused("POST", "/v3/login", login) == refusal


async def test_outside_of_the_namespace(service):
    kind = "m.login.application_service"
    for name in ("alice", "_xmpp_x"):
        refusal = await service.refused("POST", "/v3/register", {"type": kind, "username": name})
        assert refusal == (400, "M_EXCLUSIVE")
        login = {"type": kind, "identifier": {"type": "m.id.user", "user": name}}
        assert await service.refused("POST", "/v3/login", login) == (400, "M_EXCLUSIVE")
    refusal = await service.refused("POST", "/v3/register", {"type": kind})
    assert refusal == (400, "M_MISSING_PARAM")


async def test_nobody_else_gets_its_names(server):
    nobody = server.anonymous()
    body = {"username": "_irc_eve", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    assert await nobody.refused("POST", "/v3/register", body) == (400, "M_EXCLUSIVE")
    refusal = await nobody.refused("GET", "/v3/register/available", username="_irc_eve")
    assert refusal == (400, "M_EXCLUSIVE")
    refusal = await nobody.refused("GET", "/v3/register/available", username="irc_sender")
    assert refusal[0] == 400


async def test_nobody_else_gets_its_aliases(server, service):
    alice = await server.register("alice")
    room_id = (await alice.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
    path = "/v3/directory/room/%23_irc_tea:localhost"
    assert await alice.refused("PUT", path, {"room_id": room_id}) == (400, "M_EXCLUSIVE")
    assert await alice.refused("POST", "/v3/createRoom", {"room_alias_name": "_irc_tea"}) == (
        400,
        "M_EXCLUSIVE",
    )
    await service.put(path, {"room_id": room_id})  # without being in the room
    assert (await alice.get(path))["room_id"] == room_id
    assert await alice.refused("DELETE", path) == (400, "M_EXCLUSIVE")
    await service.delete(path)
    other = "/v3/directory/room/%23tea:localhost"
    assert await service.refused("PUT", other, {"room_id": room_id}) == (400, "M_EXCLUSIVE")


async def test_logging_in_for_a_user(server, service):
    await ghost(service, inhibit_login=True)
    kinds = [flow["type"] for flow in (await service.get("/v3/login"))["flows"]]
    assert "m.login.application_service" in kinds
    login = {
        "type": "m.login.application_service",
        "identifier": {"type": "m.id.user", "user": "_irc_anna"},
        "device_id": "PHONE",
    }
    anna = server.with_token(await service.post("/v3/login", login))
    assert (await anna.get("/v3/account/whoami"))["device_id"] == "PHONE"
    missing = {**login, "identifier": {"type": "m.id.user", "user": "_irc_nobody"}}
    assert await service.refused("POST", "/v3/login", missing) == (403, "M_FORBIDDEN")


async def test_users_without_devices_send_and_sync(service):
    """Their transaction ids count all the same, and syncs tell them apart from other users' ones."""
    await ghost(service, inhibit_login=True)
    as_anna = {"user_id": "@_irc_anna:localhost"}
    room_id = (await service.post("/v3/createRoom", {}, **as_anna))["room_id"]
    path = f"/v3/rooms/{room_id}/send/m.room.message/1"
    message = {"msgtype": "m.text", "body": "hello"}
    first = await service.put(path, message, **as_anna)
    assert await service.put(path, message, **as_anna) == first
    sync = await service.get("/v3/sync", timeout=0, **as_anna)
    event = sync["rooms"]["join"][room_id]["timeline"]["events"][-1]
    assert event["event_id"] == first["event_id"]
    again = await service.get("/v3/sync", timeout=0, since=sync["next_batch"], **as_anna)
    assert "rooms" not in again or not again["rooms"].get("join")
    assert room_id not in (await service.get("/v3/joined_rooms"))["joined_rooms"]


async def test_saying_when_it_was(service):
    await ghost(service, inhibit_login=True)
    as_anna = {"user_id": "@_irc_anna:localhost"}
    room_id = (await service.post("/v3/createRoom", {}, **as_anna))["room_id"]
    message = {"msgtype": "m.text", "body": "long ago"}
    sent = await service.put(f"/v3/rooms/{room_id}/send/m.room.message/1", message, ts=1234, **as_anna)
    event = await service.get(f"/v3/rooms/{room_id}/event/{sent['event_id']}", **as_anna)
    assert event["origin_server_ts"] == 1234
    sent = await service.put(f"/v3/rooms/{room_id}/state/m.room.topic", {"topic": "x"}, ts=99, **as_anna)
    event = await service.get(f"/v3/rooms/{room_id}/event/{sent['event_id']}", **as_anna)
    assert event["origin_server_ts"] == 99
    member = {"membership": "join", "displayname": "Anna of old"}
    path = f"/v3/rooms/{room_id}/state/m.room.member/@_irc_anna:localhost"
    sent = await service.put(path, member, ts=98, **as_anna)
    event = await service.get(f"/v3/rooms/{room_id}/event/{sent['event_id']}", **as_anna)
    assert event["origin_server_ts"] == 98
    refusal = await service.refused(
        "PUT", f"/v3/rooms/{room_id}/send/m.room.message/2", message, ts=-1, **as_anna
    )
    assert refusal[0] == 400


async def test_devices_come_and_go_without_logins(service):
    await ghost(service, inhibit_login=True)
    as_anna = {"user_id": "@_irc_anna:localhost"}
    made = await service.ask("PUT", "/v3/devices/BRIDGE", {"display_name": "Bridge"}, **as_anna)
    assert made.status == 201
    again = await service.ask("PUT", "/v3/devices/BRIDGE", {"display_name": "Other"}, **as_anna)
    assert again.status == 200
    device = await service.get("/v3/devices/BRIDGE", **as_anna)
    assert device["display_name"] == "Other"
    whoami = await service.get("/v3/account/whoami", device_id="BRIDGE", **as_anna)
    assert whoami["device_id"] == "BRIDGE"
    await service.delete("/v3/devices/BRIDGE", {}, **as_anna)
    refusal = await service.refused("GET", "/v3/account/whoami", device_id="BRIDGE", **as_anna)
    assert refusal == (400, "M_UNKNOWN_DEVICE")
    await service.ask("PUT", "/v3/devices/B2", {}, **as_anna)
    await service.post("/v3/delete_devices", {"devices": ["B2"]}, **as_anna)
    assert (await service.get("/v3/devices", **as_anna))["devices"] == []


async def test_people_still_cannot_create_devices(server):
    alice = await server.register()
    assert await alice.refused("PUT", "/v3/devices/NEW", {}) == (404, "M_NOT_FOUND")


async def test_deactivating_a_user(service):
    await ghost(service)
    as_anna = {"user_id": "@_irc_anna:localhost"}
    await service.post("/v3/account/deactivate", {}, **as_anna)
    assert await service.refused("GET", "/v3/account/whoami", **as_anna) == (403, "M_FORBIDDEN")


async def test_passwords_are_not_the_services_concern(service):
    """[as "Identity assertion"] leaves account management out."""
    await ghost(service)
    refusal = await service.refused(
        "POST", "/v3/account/password", {"new_password": PASSWORD}, user_id="@_irc_anna:localhost"
    )
    assert refusal[0] == 401


async def test_limits_are_not_for_services_that_have_none(pg_url, config):
    from attrs import evolve

    bucket = options.Bucket(per_second=0.001, burst=1)
    limited = evolve(
        config, rate_limits=options.RateLimits(message=bucket, registration=bucket, create_room=bucket)
    )
    assert Rate(0.001, 1)
    async with running(pg_url, limited) as server:
        free = Client(server.url, server.http, token=AS_TOKEN)
        for name in ("_irc_a", "_irc_b", "_irc_c"):
            await ghost(free, name, inhibit_login=True)
        for _ in range(3):
            await free.post("/v3/createRoom", {}, user_id="@_irc_a:localhost")
        xmpp = Client(server.url, server.http, token="as_token_of_xmpp")
        for name in ("_xmpp_a", "_xmpp_b"):
            await ghost(xmpp, name, inhibit_login=True)  # the sender is never limited
        await xmpp.post("/v3/createRoom", {}, user_id="@_xmpp_a:localhost")
        refusal = await xmpp.refused("POST", "/v3/createRoom", {}, user_id="@_xmpp_a:localhost")
        assert refusal == (429, "M_LIMIT_EXCEEDED")
