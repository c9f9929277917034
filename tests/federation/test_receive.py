"""From a transaction to verdicts: what is kept before the answer, what becomes of it, and what a crash does."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from federation.inbound import backlog as backlog_module
from homeserver.core.canonical_json import encode_lenient
from homeserver.core.errors import MatrixError
from homeserver.core.room_versions import ROOM_VERSIONS, V1, V4, V11, RoomVersion
from storage.database import Database
from storage.room_batches import ACCEPTED, REJECTED, SOFT_FAILED
from tests.federation.receiving import (
    ALICE,
    ANNA,
    BEN,
    ELSEWHERE,
    ZOE,
    Inbox,
    build_inbox,
    open_room,
)
from tests.kit.room_builder import Links


@pytest.fixture
async def inbox(database: Database) -> AsyncIterator[Inbox]:
    async with build_inbox(database).running() as inbox:
        yield inbox


@pytest.mark.parametrize("version", ROOM_VERSIONS.values(), ids=lambda version: f"v{version.name}")
async def test_events_enter_their_room(inbox: Inbox, version: RoomVersion) -> None:
    room = open_room(version)
    await inbox.found(room)
    events = [room.message(ANNA, "one"), room.topic(ANNA, "two"), room.message(BEN, "three")]
    assert await inbox.send(events) == {event.event_id: {} for event in events}
    await inbox.judged()
    assert await inbox.statuses(events) == [ACCEPTED] * 3
    assert await inbox.extremities(room) == {events[-1].event_id}
    assert await inbox.rows() == 0


async def test_a_transaction_is_taken_once(inbox: Inbox) -> None:
    room = open_room()
    await inbox.found(room)
    first, second = room.message(ANNA, "first"), room.message(ANNA, "second")
    told = await inbox.send([first], txn_id="same")
    assert await inbox.send([second], txn_id="same") == told
    assert await inbox.send([second], txn_id="same", origin=ELSEWHERE) == {second.event_id: {}}
    await inbox.judged()
    assert await inbox.statuses([first, second]) == [ACCEPTED, ACCEPTED]


async def test_any_order_within_a_transaction(inbox: Inbox) -> None:
    room = open_room()
    await inbox.found(room)
    left, right = room.fork(), room.fork()
    events = [
        left.message(ANNA),
        right.topic(ANNA, "t"),
        left.message(BEN),
        room.merge(left, right).message(ZOE),
    ]
    await inbox.send(reversed(events))
    await inbox.judged()
    assert await inbox.statuses(events) == [ACCEPTED] * 4
    assert await inbox.extremities(room) == {events[-1].event_id}


async def test_verdicts(inbox: Inbox) -> None:
    room = open_room()
    await inbox.found(room)
    unlawful = room.fork().topic(BEN, "mine")
    before_the_ban = room.fork().message(BEN, "hello")
    ban = room.ban(ANNA, BEN)
    unsigned = room.fork()
    unsigned.keys = {}
    forged = unsigned.message(ANNA, "forged")
    changed = room.fork().draft(ANNA, "m.room.message", {"body": "said", "msgtype": "m.text"})
    tampered = encode_lenient({**changed.pdu, "content": {"body": "never said"}})
    room.append(changed)
    last = room.message(ANNA)
    await inbox.send([ban, unlawful, forged, tampered, last])
    await inbox.judged()
    await inbox.send([before_the_ban])
    await inbox.judged()
    assert await inbox.statuses([ban, unlawful, forged, changed, last, before_the_ban]) == [
        ACCEPTED,
        REJECTED,
        None,
        ACCEPTED,
        ACCEPTED,
        SOFT_FAILED,
    ]
    async with inbox.kit.database.read() as conn:
        stored = await inbox.kit.reader.by_id(conn, changed.event_id)
    assert stored is not None
    assert stored.event.content == {}  # not what its hash says: redacted
    assert inbox.metrics.pdus.labels("dropped")._value.get() == 1


async def test_what_is_refused_is_told_and_not_kept(inbox: Inbox) -> None:
    room, foreign = open_room(), open_room(V4)
    await inbox.found(room)
    room.send_state(ANNA, "m.room.server_acl", "", {"allow": ["*"], "deny": [ELSEWHERE]})
    await inbox.send([room.last])
    await inbox.judged()
    denied, allowed, stranger = room.fork().message(ZOE), room.message(ANNA), foreign.message(ANNA)
    told = await inbox.send([denied, stranger, b"{}", b"7", b'{"room_id":"nonsense"}'], origin=ELSEWHERE)
    assert "access control list" in told[denied.event_id]["error"]
    assert "not in the room" in told[stranger.event_id]["error"]
    assert (await inbox.send([allowed]))[allowed.event_id] == {}
    oversized = encode_lenient({**allowed.pdu, "content": {"body": "x" * 70_000}})
    assert [one["error"] for one in (await inbox.send([oversized])).values()] == [
        "the event exceeds 65536 bytes"
    ]
    await inbox.judged()
    assert await inbox.statuses([denied, stranger, allowed]) == [None, None, ACCEPTED]


async def test_left_rooms_are_closed(inbox: Inbox) -> None:
    room = open_room()
    await inbox.found(room)
    await inbox.send([room.kick(ANNA, ALICE)])
    await inbox.judged()
    event = room.message(ANNA)
    assert "not in the room" in (await inbox.send([event]))[event.event_id]["error"]


async def test_what_waits_survives_a_crash(database: Database) -> None:
    inbox = build_inbox(database)
    room = open_room()
    await inbox.found(room)
    events = [room.message(ANNA, str(number)) for number in range(120)]
    for start in range(0, 120, 50):
        await inbox.send(events[start : start + 50])  # nobody works on them
    assert await inbox.rows() == 120
    async with build_inbox(database).running() as restarted:
        async with asyncio.timeout(20):
            while await restarted.rows():
                restarted.backlog.changed.clear()
                await restarted.backlog.changed.wait()
        assert await restarted.statuses(events) == [ACCEPTED] * 120
        assert restarted.backlog.total == 0


async def test_a_thousand_events_at_once(inbox: Inbox) -> None:
    rooms = [open_room(V11), open_room()]
    for room in rooms:
        await inbox.found(room)
    events = [rooms[number % 2].message(ANNA, str(number)) for number in range(1_000)]
    await asyncio.gather(*(inbox.send(events[start : start + 50]) for start in range(0, 1_000, 50)))
    await inbox.judged()
    assert set(await inbox.statuses(events)) == {ACCEPTED}
    for room in rooms:
        assert await inbox.extremities(room) == {room.last.event_id}


async def test_a_poison_pdu_keeps_nobody_from_their_place(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = open_room()
    await inbox.found(room)
    events = [room.message(ANNA, "one"), room.message(ANNA, "poison"), room.message(ANNA, "three")]
    good = inbox.receiver.check

    async def check(pdus, version):
        if any(pdu["content"].get("body") == "poison" for pdu in pdus):
            raise RuntimeError("a defect of ours")
        return await good(pdus, version)

    inbox.receiver.check = check
    await inbox.send([events[0], events[1]])
    await inbox.judged(left=1)
    assert await inbox.statuses(events) == [ACCEPTED, None, None]
    async with inbox.kit.database.read() as conn:
        attempts, retry_ts = await conn.fetchrow("SELECT attempts, retry_ts FROM inbound_pdus")
    assert attempts == 1
    assert retry_ts > 0


async def test_a_greedy_server_is_asked_to_wait(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog_module, "WAITING_EACH", 2)
    room = open_room()
    await inbox.found(room)
    with pytest.raises(MatrixError, match="M_LIMIT_EXCEEDED"):
        await inbox.send([room.message(ANNA) for _ in range(3)])
    assert await inbox.rows() == 0
    assert await inbox.send([room.fork(room.events[room.tips[0]]).message(ZOE)], origin=ELSEWHERE)


async def test_events_of_ours_come_back_and_change_nothing(inbox: Inbox) -> None:
    room = open_room(V1)
    await inbox.found(room)
    event = room.message(ANNA)
    for _ in range(3):
        await inbox.send([event])
        await inbox.judged()
    async with inbox.kit.database.read() as conn:
        assert await conn.fetchval("SELECT count(*) FROM events WHERE event_id = $1", event.event_id) == 1


async def test_an_id_names_one_event(inbox: Inbox) -> None:
    """Until v2 senders choose ids, and may choose that of an event of another room."""
    one, other = open_room(V1), open_room(V1)
    await inbox.found(one)
    await inbox.found(other)
    first = one.message(ANNA, "first")
    await inbox.send([first])
    await inbox.judged()
    draft = other.draft(ANNA, "m.room.message", {"body": "twin"})
    twin = other.finish_pdu({**draft.pdu, "event_id": first.event_id})
    honest = other.message(BEN, "honest")
    await inbox.send([twin, honest])
    await inbox.judged()
    assert await inbox.statuses([first, honest]) == [ACCEPTED, ACCEPTED]
    assert await inbox.extremities(other) == {honest.event_id}
    assert await inbox.rows() == 0


async def test_a_previous_event_named_twice_counts_once(inbox: Inbox) -> None:
    room = open_room(V11)
    await inbox.found(room)
    first = room.message(ANNA, "first")
    links = Links(prev=(first.event_id, first.event_id))
    twice = room.append(room.draft(BEN, "m.room.message", {"body": "twice"}, links=links))
    after = room.message(ANNA, "after")
    await inbox.send([first, twice, after])
    await inbox.judged()
    assert await inbox.statuses([first, twice, after]) == [ACCEPTED] * 3
    assert await inbox.extremities(room) == {after.event_id}
