"""Sync at its seams: nothing lost between looking and waiting, answers from memory, inboxes, devices."""

import asyncio
from typing import Any

import orjson
import pytest

from homeserver.core.event_build import Draft
from homeserver.core.room_versions import V12
from homeserver.core.tokens import SyncToken
from homeserver.services import sync_gather
from homeserver.services.key_counts import NO_DEVICE
from homeserver.services.now import now_ms
from storage.committer import Kind, Touched
from storage.database import Connection, Database
from storage.devices import record_device_list_change
from storage.rooms import Room
from tests.kit.services import ALICE, BOB, build_kit, founding
from tests.kit.syncing import Device, Syncing, build_syncing

CAROL = "@carol:example.org"


async def room_of(syncing: Syncing, *others: str) -> Room:
    room, _ = await syncing.kit.timeline.create(V12, founding(V12))
    for user in others:
        await move(syncing, room, user, "join")
    return room


async def move(syncing: Syncing, room: Room, user: str, membership: str) -> None:
    draft = Draft("m.room.member", user, {"membership": membership}, now_ms(), room.room_id, user)
    await syncing.kit.timeline.send(draft)


async def say(syncing: Syncing, room: Room, body: str, sender: str = ALICE) -> None:
    await syncing.kit.timeline.send(Draft("m.room.message", sender, {"body": body}, now_ms(), room.room_id))


def bodies(answer: dict[str, Any], room: Room) -> list[str]:
    section = answer.get("rooms", {}).get("join", {}).get(room.room_id)
    events = section["timeline"]["events"] if section else []
    return [event["content"]["body"] for event in events if "body" in event["content"]]


async def test_nothing_is_lost_between_looking_and_waiting(syncing: Syncing) -> None:
    room = await room_of(syncing, BOB)
    device = syncing.device(BOB)
    await device.sync()
    heard: list[str] = []

    async def listen() -> None:
        while len(heard) < 150:
            heard.extend(bodies(await device.sync(timeout=20), room))

    listening = asyncio.create_task(listen())
    for number in range(150):
        await say(syncing, room, str(number))
        if number % 7 == 0:
            await asyncio.sleep(0)
    await asyncio.wait_for(listening, 20)
    assert heard == [str(number) for number in range(150)]


async def test_many_writers_and_many_readers(syncing: Syncing) -> None:
    rooms = [await other_room(syncing, number) for number in range(3)]
    devices = [syncing.device(BOB, filter={"room": {"timeline": {"limit": 100}}}) for _ in range(5)]
    for device in devices:
        await device.sync()
    heard: list[list[str]] = [[] for _ in devices]

    async def listen(device: Device, words: list[str]) -> None:
        while len(words) < 90:
            answer = await device.sync(timeout=20)
            for room in rooms:
                words.extend(bodies(answer, room))

    listening = [asyncio.create_task(listen(*pair)) for pair in zip(devices, heard, strict=True)]
    await asyncio.gather(*[say(syncing, rooms[n % 3], f"{n % 3}.{n}") for n in range(90)])
    await asyncio.wait_for(asyncio.gather(*listening), 20)
    for words in heard:
        assert sorted(words) == sorted(f"{n % 3}.{n}" for n in range(90))


async def other_room(syncing: Syncing, number: int) -> Room:
    drafts = founding(V12)
    first = Draft("m.room.create", ALICE, {"room_version": "12", "n": number}, 1, None, "")
    room, _ = await syncing.kit.timeline.create(V12, [first, *drafts[1:]])
    await move(syncing, room, BOB, "join")
    return room


async def test_a_wake_up_ends_each_wait_once(syncing: Syncing) -> None:
    room = await room_of(syncing, BOB)
    device = syncing.device(BOB)
    await device.sync()
    request = await device.request()
    waits = [asyncio.create_task(syncing.parts.sync.sync(request, 20)) for _ in range(3)]
    await asyncio.sleep(0)
    assert syncing.kit.notifier.waiting == 3
    await say(syncing, room, "hello")
    answers = await asyncio.gather(*waits)
    assert len(set(answers)) == 1
    assert syncing.kit.notifier.waiting == 0


async def test_the_wait_ends_in_time_and_moves_the_token_on(syncing: Syncing) -> None:
    await room_of(syncing, BOB)
    device = syncing.device(BOB)
    await device.sync()
    before = device.since
    drafts = [Draft("m.room.create", ALICE, {"room_version": "12", "x": 1}, 1, None, ""), *founding(V12)[1:]]
    await syncing.kit.timeline.create(V12, drafts)  # nothing of it concerns the user
    assert "rooms" not in await device.sync(timeout=0.02)
    assert before is not None
    assert device.since is not None
    assert device.since.position > before.position


async def test_messages_and_silence_cost_no_query(syncing: Syncing, monkeypatch: pytest.MonkeyPatch) -> None:
    room = await room_of(syncing, BOB)
    devices = [
        syncing.device(BOB),
        syncing.device(BOB, state_name="state_after", device_nid=2),
        syncing.device(BOB, device_nid=3, filter={"room": {"state": {"lazy_load_members": True}}}),
    ]
    await say(syncing, room, "so that the lazy one knows alice")
    for device in devices:
        await device.sync()
        await device.sync()  # acknowledges the inbox once

    async def no_gather(*_: object) -> None:
        raise AssertionError("this asks the database")

    monkeypatch.setattr(sync_gather.SyncGather, "gather", no_gather)
    await say(syncing, room, "one")
    await say(syncing, room, "two")
    for device in devices:
        assert bodies(await device.sync(), room) == ["one", "two"]
        assert "rooms" not in await device.sync()


async def test_quick_and_gathered_answers_are_alike(syncing: Syncing) -> None:
    room = await room_of(syncing, BOB)
    device = syncing.device(BOB)
    await device.sync()
    await say(syncing, room, "one")
    request = await device.request()
    quick = syncing.parts.sync.quick.answer(request, NO_DEVICE)
    gathered = await syncing.parts.sync.slow.gather(request)
    assert quick is not None
    told = [without_age(decoded(one)) for one in (quick, {**gathered.answer, **NO_DEVICE.as_fields()})]
    assert told[0] == told[1]


def decoded(answer: Any) -> Any:
    return orjson.loads(answer if isinstance(answer, bytes) else orjson.dumps(answer))


def without_age(answer: Any) -> Any:
    for section in answer["rooms"]["join"].values():
        for event in section["timeline"]["events"]:
            del event["unsigned"]["age"]
    return answer


async def test_a_room_that_was_just_entered_is_never_told_as_old(syncing: Syncing) -> None:
    room = await room_of(syncing)
    device = syncing.device(BOB)
    await device.sync()
    await move(syncing, room, BOB, "join")
    await say(syncing, room, "hello")
    answer = await device.sync()
    assert ("m.room.create", "") in device.folded.joined[room.room_id].state
    assert answer["rooms"]["join"][room.room_id]["timeline"]["limited"] is True


async def test_inboxes_are_kept_until_they_are_acknowledged(
    syncing: Syncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_gather, "INBOX_LIMIT", 2)
    nid = await syncing.kit.state_keys.user_nid(BOB)
    device = syncing.device(BOB, device_nid=7)
    await device.sync()
    for number in range(5):
        await post(syncing, nid, 7, number)
    first = await device.sync()
    assert texts(first) == [0, 1]
    assert device.since is not None
    assert device.since.inbox is not None  # there is more
    assert await stored(syncing) == 5
    lost = SyncToken(device.since.position, device.since.inbox)
    assert texts(await device.sync()) == [2, 3]
    assert await stored(syncing) == 3
    device.since = lost  # the answer got lost: the client asks again
    assert texts(await device.sync()) == [2, 3]
    assert texts(await device.sync()) == [4]
    assert "to_device" not in await device.sync()
    assert await stored(syncing) == 0


async def post(syncing: Syncing, user_nid: int, device_nid: int, number: int) -> None:
    async def job(conn: Connection, position: int) -> None:
        await conn.execute(
            "INSERT INTO to_device (device_nid, position, ord, sender, type, content) VALUES ($1, $2, 0, $3, 'x', $4)",
            device_nid,
            position,
            ALICE,
            f'{{"n": {number}}}',
        )

    await syncing.kit.committer.run(job, Touched(users=(user_nid,), kind=Kind.TO_DEVICE))


async def stored(syncing: Syncing) -> int:
    async with syncing.kit.database.read() as conn:
        count: int = await conn.fetchval("SELECT count(*) FROM to_device")
    return count


def texts(answer: dict[str, Any]) -> list[int]:
    return [event["content"]["n"] for event in answer["to_device"]["events"]]


async def test_device_lists_follow_who_is_in_sight(syncing: Syncing) -> None:
    room = await room_of(syncing, BOB)
    device = syncing.device(BOB)
    assert "device_lists" not in await device.sync()
    await move(syncing, room, CAROL, "join")
    assert (await device.sync())["device_lists"] == {"changed": [CAROL]}
    await change_devices(syncing, CAROL, room)
    assert (await device.sync())["device_lists"] == {"changed": [CAROL]}
    await move(syncing, room, CAROL, "leave")
    assert (await device.sync())["device_lists"] == {"left": [CAROL]}
    await change_devices(syncing, CAROL, room)
    assert "device_lists" not in await device.sync()
    await move(syncing, room, BOB, "leave")
    assert (await device.sync())["device_lists"] == {"left": [ALICE]}
    await move(syncing, room, BOB, "join")
    assert (await device.sync())["device_lists"] == {"changed": [ALICE]}


async def change_devices(syncing: Syncing, user_id: str, room: Room) -> None:
    nid = await syncing.kit.state_keys.user_nid(user_id)

    async def job(conn: Connection, position: int) -> None:
        await record_device_list_change(conn, position, [nid])

    await syncing.kit.committer.run(job, Touched((nid,), (room.nid,), Kind.DEVICE_LISTS))


async def test_what_is_new_before_the_process_began_comes_from_the_database(
    syncing: Syncing, database: Database
) -> None:
    room = await room_of(syncing, BOB)
    device = syncing.device(BOB)
    await device.sync()
    await say(syncing, room, "while the server restarts")
    later = build_syncing(build_kit(database))
    async with database.read() as conn:
        later.kit.notifier.position = await conn.fetchval("SELECT position FROM clock")
    device.syncing = later
    assert bodies(await device.sync(), room) == ["while the server restarts"]
    await later.settle()
