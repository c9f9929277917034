"""Whatever devices upload, repeat and reuse while several processes claim: no key is given out twice or lost."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeserver.services.device_lists import DeviceLists
from homeserver.services.device_owner import DeviceOwner
from homeserver.services.key_uploads import KeyUploads, Upload
from homeserver.services.one_time_keys import OneTimeKeys
from homeserver.services.room_servers import RoomServers
from storage.database import Database
from storage.devices import open_device
from tests.kit.services import SERVER, build_kit

ALGORITHM = "plain"
PROCESSES = 3

names = st.integers(0, 12)
steps = st.one_of(
    st.tuples(st.just("upload"), st.lists(names, min_size=1, max_size=6, unique=True)),
    st.tuples(st.just("claim"), st.integers(1, 6)),
    st.tuples(st.just("claim"), st.integers(1, 6)),
)


@frozen
class Process:
    """The services of one process."""

    uploads: KeyUploads
    keys: OneTimeKeys


@pytest.fixture
async def processes(database: Database) -> AsyncIterator[list[Process]]:
    made, kits = [], []
    for _ in range(PROCESSES):
        kit = build_kit(database)
        kits.append(kit)
        lists = DeviceLists(database, kit.committer, RoomServers(), SERVER)
        uploads = KeyUploads(database, kit.committer, lists)
        made.append(Process(uploads, OneTimeKeys(database, kit.committer, kit.state_keys, SERVER)))
    yield made
    for kit in kits:
        await kit.committer.drain()


_users = iter(range(10**9))


async def _owner(processes: list[Process], database: Database) -> DeviceOwner:
    user_id = f"@user{next(_users)}:{SERVER}"
    nid = await processes[0].keys.state_keys.user_nid(user_id)
    async with database.transaction() as conn:
        device_nid, _ = await open_device(conn, nid, "D", display_name=None, now=1)
    return DeviceOwner(user_id, nid, "D", device_nid)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(steps, min_size=5, max_size=25))
async def test_each_key_is_given_out_once(
    processes: list[Process], database: Database, story: list[tuple[str, list[int] | int]]
) -> None:
    owner = await _owner(processes, database)
    waiting: dict[str, str] = {}  # name -> key, in order of upload
    given_out: list[str] = []
    versions: dict[int, int] = {}
    last: dict[str, str] = {}
    for number, (what, argument) in enumerate(story):
        process = processes[number % PROCESSES]
        if what == "upload":
            assert isinstance(argument, list)
            batch = {}
            for name in argument:
                if f"{name}" not in waiting and number % 2:  # a new key for a name that is free
                    versions[name] = versions.get(name, 0) + 1
                batch[f"{ALGORITHM}:{name}"] = f"key {name} {versions.get(name, 0)}"
            for _ in range(2):  # the answer got lost: the same again
                upload = Upload(one_time_keys=batch, fallback_keys={})
                counts = await process.uploads.upload(owner, upload)
            for full, key in batch.items():
                name_ = full.partition(":")[2]
                if key not in given_out:
                    waiting.setdefault(name_, key)
                last[name_] = key
            assert counts.get(ALGORITHM, 0) == len(waiting)
        else:
            assert isinstance(argument, int)
            answers = await asyncio.gather(
                *[
                    processes[each % PROCESSES].keys.claim({owner.user_id: {"D": ALGORITHM}}, 1)
                    for each in range(argument)
                ]
            )
            got = [
                (name.partition(":")[2], text.strip('"'))
                for answer in answers
                for name, text in answer.keys.get(owner.user_id, {}).get("D", {}).items()
            ]
            expected = list(waiting.items())[:argument]
            assert sorted(got) == sorted(expected)
            for name_, key in got:
                assert key not in given_out
                given_out.append(key)
                del waiting[name_]
