"""A thousand servers, some hundred of them dead: those that are well do not wait for them."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from storage.database import Database
from storage.rooms import Room
from tests.federation.sending import Running, sending

SERVERS = [f"s{number}.example" for number in range(1_000)]
DEAD = set(SERVERS[::10] + SERVERS[1::10] + SERVERS[2::10])
WELL = sorted(set(SERVERS) - DEAD)


@pytest.fixture
async def running(database: Database) -> AsyncIterator[Running]:
    async with sending(database, first_retry=1_000) as running:
        yield running


async def crowded(running: Running, servers: list[str]) -> Room:
    room = await running.room()
    await asyncio.gather(*[running.member(room, f"@them:{name}", "join") for name in servers])
    return room


async def test_an_event_reaches_those_that_are_well(running: Running) -> None:
    room = await crowded(running, SERVERS)
    running.world.stuck |= DEAD  # they do not even refuse
    world = running.world
    started = time.monotonic()
    await running.say(room, "hello")
    await world.until(lambda: all(world.taken[name] for name in WELL))
    first = time.monotonic() - started
    started = time.monotonic()
    await running.say(room, "again")
    await world.until(lambda: all(len(world.events(name)) == 2 for name in WELL))
    second = time.monotonic() - started
    assert first < 15
    assert second < 5
    assert not any(world.taken[name] for name in DEAD)


async def test_dead_servers_cost_little_memory(running: Running) -> None:
    few = SERVERS[:200]
    dead, well = DEAD & set(few), sorted(set(few) - DEAD)
    room = await crowded(running, few)
    running.world.down |= dead
    await running.say(room, "hello")
    await running.world.until(lambda: running.parts.sender.lanes.parked == len(dead))
    for number in range(60):
        await running.say(room, str(number))
    await running.world.until(lambda: all(len(running.world.events(name)) == 61 for name in well))
    for name in dead:
        queue = running.parts.sender.roster.known(name)
        assert queue is not None
        assert (queue.behind, len(queue.waiting), len(queue.mailbox), queue.parcel) == (True, 0, 0, None)
