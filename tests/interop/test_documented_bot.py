"""The bot of docs/application-services.md, as it stands there."""

import re
import sys
from asyncio import subprocess
from pathlib import Path

import aiohttp
import pytest

from tests.interop.server_process import ROOT, ServerProcess, free_port
from tests.interop.test_crash import register
from tests.kit.server import Client, segment

pytestmark = pytest.mark.interop

PAGE = (ROOT / "docs" / "application-services.md").read_text()


def block(language: str) -> str:
    """The first example in a language."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


class Bridged(ServerProcess):
    def config(self) -> str:
        return super().config() + '\n[application_services]\nfiles = ["echo.yaml"]\n'


@pytest.fixture
def port(tmp_path: Path) -> int:
    port = free_port()
    (tmp_path / "echo.yaml").write_text(block("yaml").replace("29300", str(port)))
    return port


@pytest.fixture
def server(tmp_path, port):
    server = Bridged(tmp_path)
    server.start()
    yield server
    server.stop()
    assert not server.complaints()


async def test_it_echoes(server, port, tmp_path):
    program = block("python").replace("http://127.0.0.1:8008", server.url).replace("29300", str(port))
    (tmp_path / "bot.py").write_text(program)
    bot = await subprocess.create_subprocess_exec(
        sys.executable, str(tmp_path / "bot.py"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
            alice = await register(Client(server.url, http), "alice")
            assert bot.stdout is not None
            await bot.stdout.readline()  # it listens
            me = alice.user_id.partition(":")[2]
            room_id = (await alice.post("/v3/createRoom", {"invite": [f"@echo:{me}"]}))["room_id"]
            sync = await alice.get("/v3/sync", timeout=0)
            sync = await until(
                alice, sync, room_id, lambda event: event["content"].get("membership") == "join"
            )
            message = {"msgtype": "m.text", "body": "hello?"}
            await alice.put(f"/v3/rooms/{segment(room_id)}/send/m.room.message/1", message)
            await until(alice, sync, room_id, lambda event: event["content"].get("msgtype") == "m.notice")
    finally:
        bot.terminate()
        await bot.wait()


async def until(client, sync, room_id, wanted):
    """Sync until an event comes; gives that sync."""
    while True:
        room = sync.get("rooms", {}).get("join", {}).get(room_id, {"timeline": {"events": []}})
        if any(wanted(event) for event in room["timeline"]["events"] if event["sender"] != client.user_id):
            return sync
        sync = await client.get("/v3/sync", timeout=20_000, since=sync["next_batch"])
