"""Application services and other servers: invitations from there, and what they ask about here."""

import pytest
import yaml
from aiohttp import web

from homeserver.app import config as options
from tests.kit.application_service import listening, registration_of
from tests.kit.server import Client, segment


@pytest.fixture
async def irc():
    async with listening("irc") as service:
        yield service


@pytest.fixture
async def bridged(homings, irc, tmp_path):
    """A server with a service, and another one."""
    file = tmp_path / "irc.yaml"
    registration = registration_of("irc", users=["@_irc_.*"], aliases=["#_irc_.*"], url=irc.url)
    file.write_text(yaml.safe_dump(registration))
    here = (await homings(1, application_services=options.ApplicationServices(files=[str(file)])))[0]
    return here, (await homings(1))[0]


def client_of(irc, here):
    return Client(here.url, here.http, f"@irc_sender:{here.name}", "", "as_token_of_irc")


async def test_an_invitation_from_another_server(bridged, irc):
    """The user is made when the invitation comes, enters the room, and is told what is said there."""
    here, there = bridged
    service = client_of(irc, here)
    ghost = f"@_irc_anna:{here.name}"

    async def make(request, told):
        if "/users/" in request.path:
            body = {"type": "m.login.application_service", "username": "_irc_anna", "inhibit_login": True}
            await service.post("/v3/register", body)
        return web.json_response({})

    irc.answer = make
    bob = await there.register("bob")
    room_id = (await bob.post("/v3/createRoom", {"name": "Over there", "invite": [ghost]}))["room_id"]
    invite = await irc.until(lambda: irc.events and irc.events[0])
    assert (invite["room_id"], invite["state_key"], invite["sender"]) == (room_id, ghost, bob.user_id)
    known = {event["type"]: event for event in invite["unsigned"]["invite_room_state"]}
    assert known["m.room.name"]["content"] == {"name": "Over there"}
    await service.post(f"/v3/rooms/{segment(room_id)}/join", {}, user_id=ghost)
    path = f"/v3/rooms/{segment(room_id)}/send/m.room.message/1"
    sent = await bob.put(path, {"msgtype": "m.text", "body": "hello"})
    assert (await irc.event(sent["event_id"]))["sender"] == bob.user_id
    ids = [event["event_id"] for event in irc.events]
    assert len(ids) == len(set(ids))


async def test_an_invitation_that_ends(bridged, irc):
    here, there = bridged
    body = {"type": "m.login.application_service", "username": "_irc_anna", "inhibit_login": True}
    await client_of(irc, here).post("/v3/register", body)
    ghost = f"@_irc_anna:{here.name}"
    bob = await there.register("bob")
    room_id = (await bob.post("/v3/createRoom", {"invite": [ghost]}))["room_id"]
    await irc.until(lambda: irc.events)
    await bob.post(f"/v3/rooms/{segment(room_id)}/kick", {"user_id": ghost})
    await irc.until(lambda: len(irc.events) == 2)
    assert [event["content"]["membership"] for event in irc.events] == ["invite", "leave"]


async def test_other_servers_follow_aliases_and_see_profiles(bridged, irc):
    here, there = bridged
    service = client_of(irc, here)

    async def make(request, told):
        if "/rooms/" in request.path:
            room_id = (await service.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
            alias = segment(f"#_irc_tea:{here.name}")
            await service.put(f"/v3/directory/room/{alias}", {"room_id": room_id})
        elif "/users/" in request.path:
            body = {"type": "m.login.application_service", "username": "_irc_bo", "inhibit_login": True}
            await service.post("/v3/register", body)
        return web.json_response({})

    irc.answer = make
    bob = await there.register("bob")
    found = await bob.get(f"/v3/directory/room/{segment(f'#_irc_tea:{here.name}')}")
    assert here.name in found["servers"]
    assert await bob.get(f"/v3/profile/@_irc_bo:{here.name}") == {}
    await bob.post(f"/v3/join/{segment(f'#_irc_tea:{here.name}')}")
    await irc.until(
        lambda: any(
            event.get("state_key") == bob.user_id and event["content"]["membership"] == "join"
            for event in irc.events
        )
    )


async def test_lists_of_networks_for_other_servers(bridged, irc):
    here, there = bridged
    service = client_of(irc, here)
    room_id = (await service.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
    path = f"/v3/directory/list/appservice/net/{segment(room_id)}"
    await service.put(path, {"visibility": "public"})
    bob = await there.register("bob")

    async def listed(**wanted):
        found = await bob.post("/v3/publicRooms", wanted, server=here.name)
        return [room["room_id"] for room in found["chunk"]]

    assert await listed() == []
    assert await listed(third_party_instance_id="irc|net") == [room_id]
    assert await listed(include_all_networks=True, filter={"generic_search_term": ""}) == [room_id]
