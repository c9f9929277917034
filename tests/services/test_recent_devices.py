"""Whose devices changed, told from memory: the same as the database says, whatever happens."""

import random
from typing import Any

import pytest

from homeserver.core.errors import MatrixError
from homeserver.core.event_build import Draft
from homeserver.core.room_versions import V12
from homeserver.services import recent_devices, sync_gather
from homeserver.services.now import now_ms
from homeserver.services.sync_gather import Gathered
from storage import presence, user_news
from storage.committer import Kind, Touched
from storage.database import Connection
from storage.devices import record_device_list_change
from storage.presence import Presence
from storage.room_servers import rooms_of_users
from storage.rooms import Room
from tests.kit.services import ALICE, BOB, founding
from tests.kit.syncing import Device, Syncing

CAROL, DAVE = "@carol:example.org", "@dave:example.org"
USERS = (ALICE, BOB, CAROL, DAVE)


async def room_of(syncing: Syncing, *others: str, creator: str = ALICE) -> Room:
    room, _ = await syncing.kit.timeline.create(V12, founding(V12, creator=creator))
    for user in others:
        await move(syncing, room, user, "join")
    return room


async def move(syncing: Syncing, room: Room, user: str, membership: str) -> None:
    draft = Draft("m.room.member", user, {"membership": membership}, now_ms(), room.room_id, user)
    await syncing.kit.timeline.send(draft)


async def change(syncing: Syncing, *user_ids: str, seen_by: str | None = None) -> None:
    """Devices of users change; or keys of theirs get a signature that one user alone sees."""
    kit = syncing.kit
    nids = [await kit.state_keys.user_nid(user_id) for user_id in user_ids]
    reader = await kit.state_keys.user_nid(seen_by) if seen_by else 0
    async with kit.database.read() as conn:
        rooms = {nid for found in (await rooms_of_users(conn, nids)).values() for nid in found}

    async def job(conn: Connection, position: int) -> None:
        await record_device_list_change(conn, position, nids, seen_by=reader)

    touched = Touched((reader,) if reader else tuple(nids), () if reader else tuple(rooms), Kind.DEVICE_LISTS)
    await kit.committer.run(job, touched)


def told(answer: dict[str, Any]) -> list[str]:
    found: list[str] = answer.get("device_lists", {}).get("changed", [])
    return found


async def both_ways(device: Device) -> tuple[Gathered, Gathered]:
    """The answer to what the client would ask now, and the one of the database alone."""
    request = await device.request()
    others = device.syncing.parts.sync.slow
    return await others.gather(request), await others.everything.gather(request)


def only_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_gather(*_: object) -> None:
        raise AssertionError("this asks the database for everything")

    monkeypatch.setattr(sync_gather.SyncGather, "gather", no_gather)


async def test_a_change_is_read_once_for_all(syncing: Syncing, monkeypatch: pytest.MonkeyPatch) -> None:
    await room_of(syncing, BOB, CAROL)
    alone = syncing.device(DAVE)
    devices = [syncing.device(user) for user in (ALICE, BOB, BOB, CAROL)]
    for device in (*devices, alone):
        await device.sync()
    only_memory(monkeypatch)
    reads = []
    read = user_news.latest_device_lists

    async def counted(*args: Any) -> Any:
        reads.append(args)
        return await read(*args)

    monkeypatch.setattr(user_news, "latest_device_lists", counted)
    await change(syncing, BOB)
    await change(syncing, CAROL)
    await change(syncing, DAVE)  # of a room of nobody else
    for device in devices:
        assert told(await device.sync()) == [BOB, CAROL]
        assert told(await device.sync()) == []
    assert told(await alone.sync()) == [DAVE]
    assert len(reads) <= 2
    await change(syncing, BOB)
    assert [told(await device.sync()) for device in devices] == [[BOB]] * 4


async def test_what_one_reader_sees_is_told_to_nobody_else(syncing: Syncing) -> None:
    await room_of(syncing, BOB)
    alice, bob = syncing.device(ALICE), syncing.device(BOB)
    for device in (alice, bob):
        await device.sync()
    await change(syncing, BOB, seen_by=ALICE)
    await change(syncing, ALICE)
    assert told(await alice.sync()) == [ALICE, BOB]
    assert told(await bob.sync()) == [ALICE]


async def test_a_change_ends_a_long_poll(syncing: Syncing) -> None:
    await room_of(syncing, BOB)
    bob = syncing.device(BOB)
    await bob.sync()
    await change(syncing, ALICE)
    assert told(await bob.sync(timeout=60)) == [ALICE]


async def test_presence_is_told_with_it(syncing: Syncing, monkeypatch: pytest.MonkeyPatch) -> None:
    await room_of(syncing, BOB)
    bob = syncing.device(BOB)
    await bob.sync()
    alice = await syncing.kit.state_keys.user_nid(ALICE)

    async def job(conn: Connection, position: int) -> None:
        await presence.put(
            conn, position, [Presence(alice, "online", None, now_ms(), True)], now_ms() + 60_000
        )

    await syncing.kit.committer.run(
        job, Touched((alice,), tuple((await bob.request()).user.rooms), Kind.PRESENCE)
    )
    await change(syncing, ALICE)
    only_memory(monkeypatch)
    answer = await bob.sync()
    assert told(answer) == [ALICE]
    assert [event["sender"] for event in answer["presence"]["events"]] == [ALICE]


@pytest.mark.parametrize(("name", "most"), [("MAX_READ", 3), ("MAX_CHANGES", 3), ("MAX_ROOMS", 3)])
async def test_who_asks_for_more_than_is_remembered_gets_it_too(
    syncing: Syncing, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    monkeypatch.setattr(recent_devices, name, most)
    others = [f"@user{number}:example.org" for number in range(8)]
    await room_of(syncing, BOB, *others)
    old, new = syncing.device(ALICE), syncing.device(BOB)
    await old.sync()
    await new.sync()
    for number, user in enumerate(others):
        await change(syncing, user, *others[: number % 3])
        if number > 3:
            assert user in told(await new.sync())
    assert told(await old.sync()) == sorted(others)


@pytest.mark.parametrize("seed", range(6))
async def test_memory_and_database_agree(
    syncing: Syncing, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Users come and go and change devices, and sync now and then."""
    monkeypatch.setattr(recent_devices, "MAX_CHANGES", 5 if seed % 2 else 10_000)
    chance = random.Random(seed)
    rooms = [await room_of(syncing, creator=creator) for creator in (ALICE, BOB)]
    devices = [syncing.device(user) for user in USERS for _ in range(2)]
    for device in devices:
        await device.sync()
    for _ in range(80):
        deed = chance.randrange(6)
        if deed == 0:
            try:
                await move(
                    syncing, chance.choice(rooms), chance.choice(USERS), chance.choice(["join", "leave"])
                )
            except MatrixError:
                continue  # not in the room
        elif deed < 3:
            await change(syncing, *chance.sample(USERS, chance.randint(1, 2)))
        elif deed == 3:
            await change(syncing, chance.choice(USERS), seen_by=chance.choice(USERS))
        else:
            device = chance.choice(devices)
            quick, slow = await both_ways(device)
            assert quick.answer.get("device_lists") == slow.answer.get("device_lists")
            assert quick.empty is slow.empty
            await device.sync()
