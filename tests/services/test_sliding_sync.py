"""Connections of sliding sync between processes and over time, and what they cost."""

from typing import Any

import pytest

from homeserver.core.errors import MatrixError
from homeserver.core.event_build import Draft
from homeserver.core.room_versions import V10
from homeserver.services.now import now_ms
from homeserver.services.sliding import gather
from homeserver.services.sliding.connections import MAX_OF_DEVICE, UNUSED_AFTER
from storage import sync_connections
from storage.database import Database
from storage.streams import current_position
from storage.sync_connections import Place
from tests.kit.services import ALICE, BOB, build_kit, founding
from tests.kit.sliding import SlidingDevice
from tests.kit.syncing import Syncing, build_syncing

ALL = {"lists": {"all": {"timeline_limit": 1, "required_state": {"include": [{}]}}}}


async def process(database: Database) -> Syncing:
    """One more process on the database."""
    syncing = build_syncing(build_kit(database))
    async with database.read() as conn:
        syncing.kit.notifier.position = await current_position(conn)
    return syncing


async def a_room(syncing: Syncing, number: int = 0) -> str:
    room_id = f"!r{number}:example.org"
    await syncing.kit.timeline.create(V10, founding(V10, room_id=room_id))
    return room_id


async def say(syncing: Syncing, room_id: str, body: str) -> None:
    draft = Draft("m.room.message", ALICE, {"body": body}, now_ms(), room_id, None)
    await syncing.kit.timeline.send(draft)


def bodies(answer: Any, room_id: str) -> list[str]:
    return [event["content"]["body"] for event in answer["rooms"][room_id]["timeline"]]


async def test_another_process_goes_on_where_one_stopped(database: Database) -> None:
    one = await process(database)
    rooms = [await a_room(one, number) for number in range(3)]
    device = SlidingDevice(one, ALICE)
    wish = ALL["lists"]["all"]
    await device.sync({"lists": {"all": {**wish, "range": [0, 2]}}})
    await say(one, rooms[0], "missed")
    await say(one, rooms[1], "told")
    assert (await device.sync({"lists": {"all": {**wish, "range": [0, 0]}}}))["rooms"].keys() == {rooms[1]}
    other = await process(database)
    await say(other, rooms[2], "new")
    device.syncing = other
    answer = await device.sync(ALL)
    assert answer["rooms"].keys() == {rooms[0], rooms[2]}
    assert (bodies(answer, rooms[0]), bodies(answer, rooms[2])) == (["missed"], ["new"])
    assert not any(room.get("initial") for room in answer["rooms"].values())
    device.syncing = one
    assert (await device.sync(ALL))["rooms"] == {}


async def test_rooms_beyond_the_bound_come_with_the_next_answer(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "MAX_TOLD", 2)
    syncing = await process(database)
    rooms = [await a_room(syncing, number) for number in range(5)]
    device = SlidingDevice(syncing, ALICE)
    told = [set((await device.sync(ALL, timeout=10))["rooms"]) for _ in range(3)]
    assert told == [{rooms[4], rooms[3]}, {rooms[2], rooms[1]}, {rooms[0]}]
    for room_id in rooms:
        await say(syncing, room_id, "x")
    told = [set((await device.sync(ALL, timeout=10))["rooms"]) for _ in range(3)]
    assert told == [{rooms[4], rooms[3]}, {rooms[2], rooms[1]}, {rooms[0]}]
    assert (await device.sync(ALL))["rooms"] == {}


async def test_a_device_has_few_connections_and_unused_ones_go(database: Database) -> None:
    syncing = await process(database)
    devices = [SlidingDevice(syncing, ALICE, f"c{number}") for number in range(MAX_OF_DEVICE + 1)]
    for device in devices:
        await device.sync(ALL)
    with pytest.raises(MatrixError, match="M_UNKNOWN_POS"):
        devices[0].syncing = await process(database)  # memory may have it yet
        await devices[0].sync(ALL)
    nid = await syncing.kit.state_keys.user_nid(ALICE)
    async with database.transaction() as conn:
        await conn.execute("UPDATE sync_connections SET used_ts = used_ts - $1", UNUSED_AFTER + 1)
        await sync_connections.drop_unused(conn, Place(nid, 0, ""), now_ms() - UNUSED_AFTER, MAX_OF_DEVICE)
        assert await conn.fetchval("SELECT count(*) FROM sync_connections") == 0
        assert await conn.fetchval("SELECT count(*) FROM sync_connection_rooms") == 0


async def test_rows_of_older_answers_go(database: Database) -> None:
    syncing = await process(database)
    room_id = await a_room(syncing)
    device = SlidingDevice(syncing, ALICE)
    for limit in range(1, 8):
        body = {"lists": {"all": {"timeline_limit": limit, "required_state": []}}}
        await say(syncing, room_id, str(limit))
        await device.ask(body) if limit == 4 else await device.sync(body)
    async with database.read() as conn:
        assert await conn.fetchval("SELECT count(*) FROM sync_connection_rooms") <= 2


@pytest.mark.parametrize("known", [True, False])
async def test_who_was_put_out_is_told_nothing_later_however_much_is_wanted(
    database: Database, known: bool
) -> None:
    syncing = await process(database)
    room_id = await a_room(syncing)

    async def member(sender: str, membership: str, target: str, name: str = "") -> str:
        content = {"membership": membership, "displayname": name}
        draft = Draft("m.room.member", sender, content, now_ms(), room_id, target)
        return (await syncing.kit.timeline.send(draft)).event.event_id

    await member(BOB, "join", BOB)
    before = await member(ALICE, "join", ALICE, "before")
    await member(ALICE, "leave", BOB)
    await member(ALICE, "join", ALICE, "after")
    device, none = (
        SlidingDevice(syncing, BOB),
        {"lists": {"all": {"timeline_limit": 1, "required_state": []}}},
    )
    if not known:
        await device.sync(none)
    last = await member(ALICE, "leave", BOB)
    if known:
        await device.sync(none)
    await device.sync(ALL)
    state = device.folded.rooms[room_id].state
    assert (state["m.room.member", ALICE], state["m.room.member", BOB]) == (before, last)


async def test_a_quiet_request_costs_no_query(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    syncing = await process(database)
    await a_room(syncing)
    device = SlidingDevice(syncing, ALICE)
    await device.sync(ALL)
    await device.sync(ALL)

    forbid_queries(monkeypatch)
    assert (await device.sync(ALL))["rooms"] == {}


def forbid_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    def acquire(*_: Any) -> None:
        pytest.fail("the database was asked")

    monkeypatch.setattr(Database, "_acquire", acquire)


async def test_a_plain_message_costs_no_query(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    syncing = await process(database)
    room_id = await a_room(syncing)
    device = SlidingDevice(syncing, ALICE)
    first = {"lists": {"all": {"timeline_limit": 2, "required_state": [], "range": [0, 19]}}}
    lazy = {"lists": {"all": {"timeline_limit": 2, "required_state": [["m.room.member", "$LAZY"]]}}}
    for body in (first, lazy):
        await device.sync(body)
        await say(syncing, room_id, "told by the database")
        await device.sync(body)
        for number in range(3):
            await say(syncing, room_id, f"told from memory {number}")
            with monkeypatch.context() as patch:
                forbid_queries(patch)
                answer = await device.sync(body)
            assert bodies(answer, room_id) == [f"told from memory {number}"]
        for _ in range(3):  # more than fits into the timeline
            await say(syncing, room_id, "one of many")
        assert (await device.sync(body))["rooms"][room_id]["limited"] is True


async def test_a_message_that_does_not_concern_a_client_costs_no_query(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncing = await process(database)
    room_id = await a_room(syncing)
    device = SlidingDevice(syncing, ALICE)
    wish = {"timeline_limit": 2, "required_state": [], "filters": {"is_dm": True}}
    await device.sync({"lists": {"direct": wish}})
    await say(syncing, room_id, "hi")
    forbid_queries(monkeypatch)
    answer = await device.sync({"lists": {"direct": wish}})
    assert (answer["rooms"], answer["lists"]["direct"]["count"]) == ({}, 0)
