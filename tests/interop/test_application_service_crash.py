"""Killed between pushing and knowing that it was taken: the same is pushed again, and nothing is lost."""

import asyncio

import aiohttp
import pytest
import yaml
from aiohttp import web

from tests.interop.server_process import ServerProcess
from tests.interop.test_crash import register
from tests.kit.application_service import listening, registration_of
from tests.kit.server import Client, segment

pytestmark = pytest.mark.interop

KILLS = 3


class BridgedProcess(ServerProcess):
    """With one application service, of whose rooms everything is pushed."""

    def config(self) -> str:
        return super().config() + '\n[application_services]\nfiles = ["irc.yaml"]\n'


@pytest.fixture
async def irc():
    async with listening("irc") as service:
        yield service


@pytest.fixture
def mortal(tmp_path, irc):
    registration = registration_of("irc", rooms=["!"], url=irc.url)
    (tmp_path / "irc.yaml").write_text(yaml.safe_dump(registration))
    server = BridgedProcess(tmp_path)
    server.start()
    yield server
    server.stop()


async def test_killed_before_a_push_is_answered(mortal, irc):
    pushed: list[tuple[str, object]] = []
    came = asyncio.Event()

    async def hold(request, told):
        pushed.append((request.path, told))
        came.set()
        await asyncio.sleep(60)
        return web.json_response({})

    said = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        alice = await register(Client(mortal.url, http), "alice")
        room_id = (await alice.post("/v3/createRoom", {}))["room_id"]
        for number in range(KILLS):
            irc.answer = hold
            came.clear()
            for letter in "abc":
                path = f"/v3/rooms/{segment(room_id)}/send/m.room.message/{number}{letter}"
                said.append((await alice.put(path, {"msgtype": "m.text", "body": letter}))["event_id"])
            await asyncio.wait_for(came.wait(), 20)
            mortal.kill()
            path, told = pushed[-1]
            taken = len(irc.transactions)
            irc.answer = None
            await asyncio.to_thread(mortal.start)
            await irc.event(said[-1])
            again = irc.transactions[taken]
            assert (path.rpartition("/")[2], told) == again, "the same under the same id"
    messages = [event["event_id"] for event in irc.events if event["type"] == "m.room.message"]
    assert messages == said
