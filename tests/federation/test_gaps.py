"""Events whose previous events nobody sent: fetched, placed, or given up; and what servers that lie can do about it."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any

import pytest

from federation import gap_queue
from federation.gap_queue import GapQueue
from federation.gaps import GapLimits
from homeserver.core.event import Event
from homeserver.core.room_versions import V1, V4, V10, V12, RoomVersion
from storage.database import Database
from storage.inbound_pdus import WaitingPdu
from storage.room_batches import ACCEPTED, OUTLIER
from tests.federation.receiving import (
    ANNA,
    BEN,
    ELSEWHERE,
    KEYS,
    PATIENCE,
    THERE,
    ZOE,
    Inbox,
    WatchedLedger,
    build_inbox,
    open_room,
)
from tests.kit.remote_room import RemoteRoom

VERSIONS = pytest.mark.parametrize("version", [V1, V4, V10, V12], ids=lambda version: f"v{version.name}")


@pytest.fixture
async def inbox(database: Database) -> AsyncIterator[Inbox]:
    async with build_inbox(database).running() as inbox:
        yield inbox


async def start(inbox: Inbox, version: RoomVersion = V12) -> RemoteRoom:
    """A room that we and the others know."""
    room = open_room(version)
    await inbox.found(room)
    inbox.others.rooms[THERE] = room
    return room


def talk(room: RemoteRoom, count: int) -> list[Event]:
    """So many events, some of them of the state."""
    return [
        room.topic(ANNA, str(number)) if number % 7 == 3 else room.message(ANNA, str(number))
        for number in range(count)
    ]


@VERSIONS
@pytest.mark.parametrize("count", [1, 5, 50])
async def test_a_gap_is_filled(inbox: Inbox, version: RoomVersion, count: int) -> None:
    room = await start(inbox, version)
    lost, last = talk(room, count), room.message(BEN, "after")
    await inbox.send([last])
    await inbox.judged()
    assert set(await inbox.statuses([*lost, last])) == {ACCEPTED}
    assert await inbox.extremities(room) == {last.event_id}
    assert await inbox.current(room) == room.current()
    assert {what for what, *_ in inbox.others.asked} == {"missing_events"}


async def test_a_gap_of_hundreds(inbox: Inbox) -> None:
    room = await start(inbox)
    lost, last = talk(room, 500), room.message(BEN, "after")
    await inbox.send([last])
    await inbox.judged()
    assert set(await inbox.statuses([*lost, last])) == {ACCEPTED}
    assert await inbox.current(room) == room.current()


async def test_a_fork_with_a_gap(inbox: Inbox) -> None:
    room = await start(inbox)
    here = room.message(ANNA, "common")
    await inbox.send([here])
    left, right = room.fork(), room.fork()
    lost = [*talk(left, 3), *talk(right, 30)]
    last = room.merge(left, right).message(ZOE, "together")
    await inbox.send([last])
    await inbox.judged()
    assert set(await inbox.statuses([*lost, last])) == {ACCEPTED}
    assert await inbox.current(room) == room.current()


@VERSIONS
async def test_what_is_too_far_is_placed_behind_a_hole(database: Database, version: RoomVersion) -> None:
    limits = GapLimits(rounds=2)
    async with build_inbox(database, limits=limits).running() as inbox:
        room = await start(inbox, version)
        lost, last = talk(room, 100), room.message(BEN, "after")
        room.topic(ANNA, "the end")
        await inbox.send([last, room.last])
        await inbox.judged()
        assert set(await inbox.statuses(lost[-38:])) == {ACCEPTED}
        assert await inbox.statuses([last, room.last]) == [ACCEPTED] * 2
        assert await inbox.status(lost[0]) is None
        assert await inbox.current(room) == room.current()
        assert OUTLIER in await inbox.statuses(lost[:60])  # of the state in front of the hole
        async with database.read() as conn:
            assert await conn.fetchval("SELECT count(*) FROM missing_events") > 0


async def test_a_large_state_comes_whole(database: Database) -> None:
    async with build_inbox(database, limits=GapLimits(rounds=1, singles=3)).running() as inbox:
        room = await start(inbox)
        for number in range(40):
            room.send_state(ANNA, "org.example.thing", str(number), {"n": number})
        last = room.message(BEN, "after")
        await inbox.send([last])
        await inbox.judged()
        assert await inbox.status(last) == ACCEPTED
        assert await inbox.current(room) == room.current()
        assert "state" in {what for what, *_ in inbox.others.asked}


@VERSIONS
@pytest.mark.parametrize("singles", [40, 3])
async def test_the_state_is_also_asked_for_one_event_before(
    database: Database, version: RoomVersion, singles: int
) -> None:
    async with build_inbox(database, limits=GapLimits(rounds=1, page=1, singles=singles)).running() as inbox:
        room = await start(inbox, version)
        for number in range(5):
            room.send_state(ANNA, "org.example.thing", str(number), {"n": number})
        room.topic(ANNA, "earlier")
        before, lost = room.topic(ANNA, "just before"), room.message(ANNA, "lost")
        last = room.message(BEN, "after")
        inbox.others.untold = {lost.event_id}
        await inbox.send([last])
        await inbox.judged()
        assert await inbox.statuses([before, lost, last]) == [OUTLIER, ACCEPTED, ACCEPTED]
        assert await inbox.current(room) == room.current()


async def test_who_enters_in_a_gap_of_which_little_is_told(database: Database) -> None:
    async with build_inbox(database, limits=GapLimits(rounds=1, page=1)).running() as inbox:
        room = await start(inbox)
        newcomer = f"@newcomer:{THERE}"
        entered = room.join(newcomer)
        lost = room.message(newcomer, "lost")  # its auth events are unknown too
        last = room.message(ANNA, "after")
        inbox.others.untold = {lost.event_id}
        await inbox.send([last])
        await inbox.judged()
        assert await inbox.statuses([entered, lost, last]) == [OUTLIER, ACCEPTED, ACCEPTED]
        assert await inbox.current(room) == room.current()


async def test_another_server_is_asked_where_the_sender_cannot_help(inbox: Inbox) -> None:
    room = await start(inbox)
    inbox.others.rooms = {ELSEWHERE: room}
    lost, last = talk(room, 3), room.message(BEN, "after")
    await inbox.send([last])
    await inbox.judged()
    assert set(await inbox.statuses([*lost, last])) == {ACCEPTED}
    assert [server for what, server, *_ in inbox.others.asked][:2] == [THERE, ELSEWHERE]


async def test_the_author_is_asked_before_who_sent_it(inbox: Inbox) -> None:
    room = await start(inbox)
    inbox.others.rooms = {}
    room.message(ANNA, "lost")
    await inbox.send([room.message(BEN, "after")], origin=ELSEWHERE)
    await inbox.failed()
    assert [server for what, server, *_ in inbox.others.asked][:2] == [THERE, ELSEWHERE]


async def test_events_that_come_by_themselves_end_the_waiting(inbox: Inbox) -> None:
    room = await start(inbox)
    inbox.others.rooms = {}
    first, second = room.message(ANNA, "first"), room.message(BEN, "second")
    await inbox.send([second])
    await inbox.failed()
    assert await inbox.status(second) is None
    await inbox.send([first], origin=ELSEWHERE)
    await inbox.judged()
    assert await inbox.statuses([first, second]) == [ACCEPTED, ACCEPTED]


async def test_the_room_goes_on_meanwhile(inbox: Inbox) -> None:
    room = await start(inbox)
    inbox.others.rooms = {}
    fork = room.fork()
    talk(fork, 1)
    stuck, free = fork.message(ANNA, "stuck"), room.message(BEN, "free")
    await inbox.send([stuck, free])
    await inbox.has(free)
    assert await inbox.statuses([stuck, free]) == [None, ACCEPTED]


async def test_what_cannot_be_had_is_given_up(inbox: Inbox) -> None:
    room = await start(inbox)
    inbox.others.rooms = {}
    room.message(ANNA, "lost")
    await inbox.send([room.message(BEN, "after")])
    for _ in range(4):
        await inbox.failed()
    await inbox.judged()
    assert await inbox.rows() == 0
    assert inbox.metrics.pdus.labels("unresolved")._value.get() == 1


class TestLiars:
    """Each costs bounded work, and harms neither the room nor others' events."""

    async def check(self, inbox: Inbox, room: RemoteRoom) -> None:
        """The room still works."""
        honest = room.message(ANNA, "honest")
        inbox.others.rooms[THERE] = room
        await inbox.send([honest], origin=ELSEWHERE)
        await inbox.has(honest)
        assert await inbox.status(honest) == ACCEPTED

    async def test_events_of_other_rooms(self, inbox: Inbox) -> None:
        room, other = await start(inbox), open_room(V10)
        inbox.others.extra = [dict(event.pdu) for event in other.events.values()]
        lost, last = talk(room, 3), room.message(BEN, "after")
        await inbox.send([last])
        await inbox.judged()
        assert set(await inbox.statuses([*lost, last])) == {ACCEPTED}
        assert set(await inbox.statuses(other.events.values())) == {None}

    async def test_events_that_nobody_asked_for(self, inbox: Inbox) -> None:
        room = await start(inbox)
        aside = room.fork().message(BEN, "aside")
        inbox.others.extra = [dict(aside.pdu)]
        lost, last = talk(room, 3), room.message(BEN, "after")
        await inbox.send([last])
        await inbox.judged()
        assert await inbox.statuses([lost[0], last, aside]) == [ACCEPTED, ACCEPTED, None]

    async def test_an_endless_chain(self, database: Database) -> None:
        limits = GapLimits(rounds=5, placements=2)
        async with build_inbox(database, limits=limits).running() as inbox:
            room = await start(inbox)
            liar = room.fork()
            events = [liar.message(BEN, str(number)) for number in range(300)]
            inbox.others.rooms[THERE] = liar
            del liar.record.state_before[events[199].event_id]
            await inbox.send([events[-1]])
            await inbox.failed()
            assert sum(what == "missing_events" for what, *_ in inbox.others.asked) <= 3 * 5
            await self.check(inbox, room)

    async def test_another_event_than_was_asked_for(self, database: Database) -> None:
        async with build_inbox(database, limits=GapLimits(rounds=0)).running() as inbox:
            room = await start(inbox)
            topic = room.topic(ANNA, "real")
            wrong = room.fork().topic(ANNA, "other")
            last = room.message(BEN, "after")

            async def event(server: str, event_id: str):
                return dict(wrong.pdu)

            inbox.others.event = event
            await inbox.send([last])
            await inbox.judged()
            assert await inbox.statuses([topic, wrong, last]) == [None, None, ACCEPTED]

    async def test_unsigned_history(self, inbox: Inbox) -> None:
        room = await start(inbox)
        forger = room.fork()
        forger.keys = {ELSEWHERE: KEYS[ELSEWHERE]}
        forged = forger.message(ANNA, "never said")
        last = forger.message(ZOE, "see above")
        inbox.others.rooms = {ELSEWHERE: forger}
        forger.record.state_before[last.event_id] = {}
        await inbox.send([last], origin=ELSEWHERE)
        await inbox.failed()
        assert await inbox.status(forged) is None
        await self.check(inbox, room)

    async def test_a_state_that_lets_the_liar_rule(self, database: Database) -> None:
        """What is told of a state is judged by its own auth events, and the event by the room's current state too."""
        async with build_inbox(database, limits=GapLimits(rounds=0)).running() as inbox:
            room = await start(inbox)
            liar = room.fork()
            coup = liar.draft(BEN, "m.room.power_levels", {"users": {BEN: 100}}, state_key="")
            liar.append(coup)
            last = liar.topic(BEN, "mine now")
            inbox.others.rooms[THERE] = liar
            await inbox.send([last])
            await inbox.judged()
            assert await inbox.status(last) != ACCEPTED
            assert (await inbox.current(room)).get(("m.room.topic", "")) is None
            await self.check(inbox, room)


async def test_a_hole_beside_what_is_known(inbox: Inbox) -> None:
    """The author refused the event, so its server does not know the state before it, but that at the hole."""
    room = await start(inbox)
    here = room.message(ANNA, "common")
    await inbox.send([here])
    left, right = room.fork(), room.fork()
    known, lost = left.message(ANNA, "known"), right.topic(ANNA, "lost")
    await inbox.send([known])
    await inbox.has(known)
    last = room.merge(left, right).message(BEN, "after both")
    inbox.others.untold = {last.event_id}
    inbox.others.silent = True
    await inbox.send([last])
    await inbox.judged()
    assert await inbox.statuses([lost, last]) == [OUTLIER, ACCEPTED]


async def test_who_keeps_back_what_an_event_follows_is_asked_for_no_older_state(inbox: Inbox) -> None:
    room = await start(inbox)
    lost, last = room.message(ANNA, "lost"), room.message(BEN, "after")
    inbox.others.unsaid = {lost.event_id}
    inbox.others.untold = {last.event_id}
    await inbox.send([last])
    await inbox.failed()
    assert await inbox.statuses([lost, last]) == [None, None]
    assert {details[0] for what, _, *details in inbox.others.asked if what == "state_ids"} == {last.event_id}


async def test_who_comes_while_a_gap_is_closed_is_looked_at_then(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the gap was given up while they were being put off; and alone, as the others have a time of their own."""
    asked: asyncio.Queue[Sequence[str]] = asyncio.Queue()
    more, closed = asyncio.Event(), asyncio.Event()
    put_off, due = WatchedLedger.lend, GapQueue._due

    async def missing_events(
        server: str, room_id: str, *, latest: Sequence[str], **rest: object
    ) -> list[Any]:
        asked.put_nowait(latest)
        await more.wait()
        return []

    async def slowly(ledger: WatchedLedger, rows: Collection[WaitingPdu], milliseconds: int) -> None:
        if milliseconds == gap_queue.SOON:
            more.set()
            await closed.wait()
        await put_off(ledger, rows, milliseconds)

    async def told(queue: GapQueue, pdu_nids: Sequence[int]) -> None:
        await due(queue, pdu_nids)
        closed.set()

    monkeypatch.setattr(gap_queue, "SOON", 86_400_000)
    monkeypatch.setattr(WatchedLedger, "lend", slowly)
    monkeypatch.setattr(GapQueue, "_due", told)
    async with build_inbox(database).running() as inbox, asyncio.timeout(PATIENCE):
        room = await start(inbox)
        inbox.others.missing_events = missing_events
        lost, first, last = (room.message(ANNA, text) for text in ("lost", "first", "last"))
        inbox.others.untold = {lost.event_id, first.event_id, last.event_id}
        await inbox.send([first])
        assert await asked.get() == [first.event_id]
        await inbox.send([last])
        while await asked.get() != [last.event_id]:
            pass


async def test_what_becomes_due_between_two_looks_is_not_slept_over(database: Database) -> None:
    ledger = build_inbox(database).receiver.ledger
    assert await ledger.rooms_due() == []
    await ledger.make_due([1])
    async with asyncio.timeout(PATIENCE):
        await ledger.wait_until_due(3600)
