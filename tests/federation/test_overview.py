"""What operators see of other servers, and what they can do."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from federation.overview import Overview
from homeserver.app.federation_commands import federation_group
from homeserver.app.operator_proof import GOOD_FOR, holds, prove
from storage import outbound_to_device
from storage.database import Database
from storage.destinations import Destination, put
from tests.federation.sending import Running, eventually, sending
from tests.kit.server import RunningServer

ONE, TWO = "one.example", "two.example:8448"
_DOWN = Destination(ONE, 3, 1_700_000_000_000, 1 << 50, 1_600_000_000_000, "no route")
_UP = Destination(TWO, last_success=1_700_000_000_000)


@pytest.fixture
async def running(database: Database) -> AsyncIterator[Running]:
    async with sending(database, first_retry=1_000) as running:
        yield running


async def test_what_waits_for_whom(running: Running, database: Database) -> None:
    world, sender = running.world, running.parts.sender
    overview = Overview(database, world.destinations, sender)
    world.down.add(ONE)
    room = await running.room(ONE, TWO)
    for number in range(60):
        last = await running.say(room, str(number))
    await running.followed(last.position)
    await world.until(lambda: len(world.events(TWO)) == 60)
    await eventually(lambda: not sender.lanes.busy)
    await world.destinations.flush()
    async with database.writer() as conn:
        await outbound_to_device.add(conn, 1, [(ONE, b"{}"), (ONE, b"{}")])
    down, up = await overview.page("", 10)
    assert (down.standing.server_name, down.state, down.events, down.messages) == (ONE, "down", 60, 2)
    assert (down.standing.failures, down.standing.last_error) == (1, "no route")
    assert (up.standing.server_name, up.state, up.events, up.messages) == (TWO, "up", 0, 0)
    assert [one.standing.server_name for one in await overview.page(ONE, 10)] == [TWO]
    assert await overview.one("never.example") is None
    world.down.clear()
    overview.retry(ONE)
    await world.until(lambda: len(world.events(ONE)) == 60)


async def test_after_a_restart_what_waits_is_counted_when_asked_for(database: Database) -> None:
    async with sending(database, first_retry=1_000) as first:
        first.world.down.add(ONE)
        room = await first.room(ONE)
        for number in range(7):
            last = await first.say(room, str(number))
        await first.followed(last.position)
        await first.world.until(lambda: first.world.destinations.standing(ONE).failures > 0)
        await first.world.destinations.flush()
    async with sending(database, first_retry=1_000) as second:
        await second.followed(last.position)
        overview = Overview(database, second.world.destinations, second.parts.sender)
        [listed] = await overview.page("", 10)
        shown = await overview.one(ONE)
        assert shown is not None
        assert (listed.events, shown.events, shown.state) == (None, 7, "down")


def test_a_proof_is_good_for_one_request_and_a_minute() -> None:
    proof = prove("s3cret", "GET", "/x", 1_000_000)
    assert holds("s3cret", proof, method="GET", target="/x", now=1_000_000 + GOOD_FOR)
    assert not holds("s3cret", proof, method="GET", target="/x", now=1_000_001 + GOOD_FOR)
    assert not holds("s3cret", proof, method="POST", target="/x", now=1_000_000)
    assert not holds("s3cret", proof, method="GET", target="/y", now=1_000_000)
    assert not holds("other", proof, method="GET", target="/x", now=1_000_000)
    for forged in ("", ".", "1.", proof.upper(), proof + "0", "9" * 99 + "." + "0" * 64):
        assert not holds("s3cret", forged, method="GET", target="/x", now=1_000_000)


async def command(server: RunningServer, *arguments: str) -> Result:
    told = [*arguments, "--data", server.config.server.data, "--url", server.url]
    return await asyncio.to_thread(CliRunner().invoke, federation_group, told)


async def test_the_commands_speak_to_the_running_server(server: RunningServer) -> None:
    async with server.database.writer() as conn:
        await put(conn, [_DOWN, _UP])
    listed = await command(server, "destinations")
    assert [line.split()[:4] for line in listed.output.splitlines()] == [
        ["SERVER", "STATE", "EVENTS", "MESSAGES"],
        [ONE, "down", "0", "0"],
        [TWO, "up", "0", "0"],
    ]
    assert "no route" in listed.output
    troubled = json.loads((await command(server, "destinations", "--troubled", "--json")).output)
    assert [one["destination"] for one in troubled] == [ONE]
    shown = await command(server, "show", TWO)
    assert "last success:      2023-11-14 22:13:20 UTC" in shown.output
    assert (await command(server, "retry", ONE)).output == f"{ONE} is being tried now\n"
    told: Any = json.loads((await command(server, "show", ONE, "--json")).output)
    assert (told["state"], told["failures"]) == ("down", 3)
    assert "never had to do" in (await command(server, "retry", "never.example")).output


async def test_only_operators_may_look(server: RunningServer) -> None:
    path = "/_synapse/admin/v1/federation/destinations"
    assert await server.anonymous().refused("GET", path) == (401, "M_MISSING_TOKEN")
    alice = await server.register("alice")
    assert await alice.refused("GET", path) == (403, "M_FORBIDDEN")
    assert await alice.refused("POST", f"{path}/{ONE}/reset_connection") == (403, "M_FORBIDDEN")
    async with server.database.writer() as conn:
        await conn.execute("UPDATE accounts SET admin = true")
        await put(conn, [_DOWN])
    admin = await server.login(alice.user_id)
    assert (await admin.get(path, limit=1))["next_token"] == ONE
    assert (await admin.get(path))["total"] == 1
