"""A server of ours in a process, the hostile program beside it, and what must hold after every attack."""

import asyncio

import aiohttp
import psutil
import pytest

from tests.adversary.adversary import Adversary
from tests.adversary.victim import Victim
from tests.interop.federating_process import FederatingProcess, process_folder
from tests.interop.sites import Site

MOST_GROWTH = 150 * 2**20


@pytest.fixture(scope="module")
def victim_process(postgres, authority, tmp_path_factory):
    database = asyncio.run(postgres.clone())
    folder = process_folder(tmp_path_factory.mktemp("victim"), "data")
    process = FederatingProcess(folder, authority=authority, database_url=database)
    process.start()
    yield process
    process.stop()
    asyncio.run(postgres.drop(database))


@pytest.fixture
async def adversary(authority):
    adversary = Adversary(authority)
    await adversary.start()
    yield adversary
    await adversary.stop()


@pytest.fixture
async def victim(victim_process, adversary):
    """Alice's public room of version 11, which mallory is in. Afterwards: unharmed, awake, no larger, no surprises."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        site = Site(victim_process, http)
        alice = await site.user("alice")
        room_id = await alice.create(room_version="11", name="Target")
        victim = Victim(site, alice, room_id, adversary)
        joined = await adversary.do("join", to=victim.name, room_id=room_id, user=victim.mallory)
        assert joined["status"] == 200, joined
        await alice.sees_member(room_id, victim.mallory, "join")
        memory = psutil.Process(victim_process.process.pid).memory_info
        before, complaints = memory().rss, len(victim_process.complaints())
        async with victim.awake():
            yield victim
        await victim.unharmed()
        assert memory().rss - before < MOST_GROWTH
        assert victim_process.complaints()[complaints:] == []
