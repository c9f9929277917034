"""A bot and a puppet of mautrix, the framework of many bridges, as an application service."""

import asyncio

import aiohttp
import pytest
import yaml
from mautrix.appservice import AppService
from mautrix.types import EventType, Membership, UserID

from tests.interop.server_process import ServerProcess, free_port
from tests.interop.test_crash import register
from tests.kit.application_service import registration_of
from tests.kit.server import Client, segment

pytestmark = pytest.mark.interop

SECONDS = 30


class Bridged(ServerProcess):
    def config(self) -> str:
        return super().config() + '\n[application_services]\nfiles = ["mx.yaml"]\n'


@pytest.fixture
def port(tmp_path):
    port = free_port()
    wants = ("de.sorunome.msc2409.push_ephemeral", "org.matrix.msc3202", "receive_ephemeral")
    registration = registration_of(
        "mx", users=["@mx_.*"], url=f"http://127.0.0.1:{port}", **dict.fromkeys(wants, True)
    )
    (tmp_path / "mx.yaml").write_text(yaml.safe_dump(registration))
    return port


@pytest.fixture
def server(tmp_path, port):
    server = Bridged(tmp_path)
    server.start()
    yield server
    server.stop()
    assert not server.complaints()


@pytest.fixture
async def bridge(server, port):
    """It enters where it is invited; a puppet of its own repeats what is said, types and reads."""
    bridge = AppService(
        server=server.url,
        domain=f"localhost:{server.port}",
        as_token="as_token_of_mx",
        hs_token="hs_token_of_mx",
        bot_localpart="mx_sender",
        id="mx",
        ephemeral_events=True,
        encryption_events=True,
    )
    bridge.seen, bridge.kept = asyncio.Queue(), []

    @bridge.matrix_event_handler
    async def handle(event):
        bridge.seen.put_nowait(event)
        invited = event.type == EventType.ROOM_MEMBER and event.content.membership == Membership.INVITE
        if invited and event.state_key == bridge.bot_mxid:
            await bridge.intent.join_room(event.room_id)
        elif event.type == EventType.ROOM_MESSAGE and not event.sender.startswith("@mx_"):
            puppet = bridge.intent.user(UserID(f"@mx_puppet:localhost:{server.port}"))
            await puppet.set_displayname("Puppet")
            await puppet.send_text(event.room_id, f"echo {event.content.body}")
            await puppet.mark_read(event.room_id, event.event_id)

    await bridge.start("127.0.0.1", port)
    yield bridge
    await bridge.stop()


async def seen(bridge, kind):
    """The next event of a type that the bridge is pushed; what comes before it is kept for the next question.

    What is passing comes with a transaction's events, and is handled before or after them.
    """
    async with asyncio.timeout(SECONDS):
        while not (found := [event for event in bridge.kept if event.type == kind]):
            bridge.kept.append(await bridge.seen.get())
    bridge.kept.remove(found[0])
    return found[0]


async def test_a_puppet_repeats_what_is_said(server, bridge):
    await bridge.ping_self()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
        alice = await register(Client(server.url, http), "alice")
        room_id = (await alice.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
        await alice.post(f"/v3/rooms/{segment(room_id)}/invite", {"user_id": bridge.bot_mxid})
        while (await seen(bridge, EventType.ROOM_MEMBER)).content.membership != Membership.JOIN:
            pass
        message = {"msgtype": "m.text", "body": "hello"}
        await alice.put(f"/v3/rooms/{segment(room_id)}/send/m.room.message/1", message)
        assert (await seen(bridge, EventType.ROOM_MESSAGE)).content.body == "hello"
        echo = await seen(bridge, EventType.ROOM_MESSAGE)
        assert (echo.content.body, echo.sender) == ("echo hello", f"@mx_puppet:localhost:{server.port}")
        assert (await seen(bridge, EventType.RECEIPT)).room_id == room_id
        members = await alice.get(f"/v3/rooms/{segment(room_id)}/joined_members")
        assert members["joined"][echo.sender]["display_name"] == "Puppet"
