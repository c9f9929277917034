"""The sender against a real database: who gets what, in which order, whatever happens on the way."""

import asyncio
import random
from collections.abc import AsyncIterator
from functools import partial
from unittest.mock import AsyncMock

import pytest

from federation import catch_up, lanes
from federation.outbound_edus import ToDeviceSource
from homeserver.core.room_versions import V11, V12, RoomVersion
from storage import outbound_events, outbound_to_device
from storage.committer import Kind, Touched
from storage.database import Connection, Database, Unavailable
from tests.federation.sending import Running, begin, eventually, sending
from tests.kit.services import ALICE, BOB

ONE, TWO, THREE = "one.example", "two.example:8448", "three.example"
THEM = f"@them:{ONE}"


@pytest.fixture
async def running(database: Database) -> AsyncIterator[Running]:
    async with sending(database) as running:
        yield running


@pytest.mark.parametrize("version", [V11, V12], ids=lambda version: f"v{version.name}")
async def test_every_server_in_the_room_gets_what_we_say(running: Running, version: RoomVersion) -> None:
    room = await running.room(ONE, TWO, version=version)
    for number in range(120):
        await running.say(room, str(number))
    expected = [str(number) for number in range(120)]
    await running.world.until(
        lambda: running.world.events(TWO) == expected and len(running.world.events(ONE)) == 120
    )
    assert running.world.events(ONE) == expected
    assert THREE not in running.world.taken


async def test_what_others_say_is_theirs_to_send(running: Running) -> None:
    room = await running.room(ONE, TWO)
    await running.say(room, "theirs", sender=THEM)
    await running.say(room, "ours")
    await running.world.until(lambda: bool(running.world.events(TWO)) and bool(running.world.events(ONE)))
    assert running.world.events(ONE) == running.world.events(TWO) == ["ours"]


async def test_whoever_is_removed_hears_of_it_and_of_nothing_later(running: Running) -> None:
    room = await running.room(ONE, TWO)
    await running.say(room, "hello")
    await running.member(room, THEM, "leave", by=ALICE)
    await running.say(room, "they have gone")
    await running.member(room, f"@them:{TWO}", "ban", by=ALICE)
    last = await running.say(room, "alone")
    await running.followed(last.position)
    await running.world.until(lambda: len(running.world.events(TWO)) == 4)
    assert running.world.events(ONE) == ["hello", f"{THEM} leave"]
    assert running.world.events(TWO)[2:] == ["they have gone", f"@them:{TWO} ban"]


async def test_who_was_invited_or_knocked_hears_that_it_is_over(running: Running) -> None:
    room = await running.room(ONE)
    guest, knocker, stranger = f"@guest:{TWO}", f"@knocker:{THREE}", "@stranger:four.example"
    await running.state(room, "m.room.join_rules", {"join_rule": "knock"})
    await running.member(room, guest, "invite", by=ALICE)
    await running.member(room, knocker, "knock")
    await running.member(room, guest, "leave", by=ALICE)
    await running.member(room, knocker, "leave", by=ALICE)
    await running.member(room, stranger, "ban", by=ALICE)
    await running.world.until(lambda: len(running.world.events(ONE)) == 5 and THREE in running.world.taken)
    assert running.world.events(TWO) == [f"{guest} leave"]
    assert running.world.events(THREE) == [f"{knocker} leave"]
    assert "four.example" not in running.world.taken


async def test_the_last_server_to_be_removed_hears_of_it(running: Running) -> None:
    """Also when the room is read only after all that: nobody else is in it by then."""
    for _ in range(10):
        room = await running.room(ONE)
        said = len(running.world.events(ONE))
        await asyncio.gather(
            running.say(room, "hello"),
            running.member(room, THEM, "leave", by=ALICE),
            running.state(room, "m.room.topic", {"topic": "alone"}),
        )
        await running.world.until(partial(there_are, running, said + 2))


def there_are(running: Running, count: int) -> bool:
    return len(running.world.events(ONE)) >= count


async def test_who_comes_gets_what_comes_after(running: Running) -> None:
    room = await running.room()
    await running.say(room, "before")
    await running.member(room, THEM, "join")
    await running.say(room, "after")
    await running.world.until(lambda: bool(running.world.events(ONE)))
    assert running.world.events(ONE) == ["after"]


async def test_where_we_are_alone_nothing_is_read_until_somebody_comes(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await running.room()
    await running.followed((await running.say(room, "alone")).position)
    read = AsyncMock(wraps=outbound_events.to_send)
    monkeypatch.setattr(outbound_events, "to_send", read)
    await running.member(room, BOB, "join")
    await running.state(room, "m.room.topic", {"topic": "still alone"})
    await running.followed((await running.say(room, "both of us")).position)
    read.assert_not_awaited()
    await running.member(room, THEM, "join")
    await running.say(room, "all three")
    await running.world.until(lambda: bool(running.world.events(ONE)))
    assert running.world.events(ONE) == ["all three"]


async def test_a_join_through_us_is_told_to_the_others(running: Running, database: Database) -> None:
    room = await running.room(ONE, TWO)
    joined = await running.member(room, f"@new:{ONE}", "join")
    async with database.writer() as conn:
        await conn.execute("INSERT INTO relayed_events VALUES ($1)", joined.nid)
    running.parts.sender.position = (joined.position or 0) - 1
    running.parts.sender.news.look_everywhere(joined.position or 0)
    await running.world.until(lambda: bool(running.world.events(TWO)))
    assert running.world.events(TWO) == [f"@new:{ONE} join"]
    assert running.world.events(ONE) == []


async def test_what_was_redacted_meanwhile_leaves_without_its_content(running: Running) -> None:
    running.world.down.add(ONE)
    room = await running.room(ONE)
    said = await running.say(room, "secret")
    await running.world.until(lambda: bool(running.world.tries))
    async with running.foundation.database.writer() as conn:
        await conn.execute("UPDATE events SET redacted_by = 1 WHERE event_nid = $1", said.nid)
    queue = running.parts.sender.roster.queue(ONE)
    assert queue is not None
    queue.forget_parcel()
    running.world.down.clear()
    await running.world.until(lambda: bool(running.world.taken[ONE]))
    assert running.world.events(ONE) == ["m.room.message"]


async def test_after_an_outage_everything_comes_in_order(running: Running, database: Database) -> None:
    running.world.down.add(ONE)
    rooms = [await running.room(ONE, TWO) for _ in range(3)]
    for number in range(150):
        await running.say(rooms[number % 3], str(number))
    expected = [str(number) for number in range(150)]
    await running.world.until(lambda: running.world.events(TWO) == expected)
    queue = running.parts.sender.roster.known(ONE)
    assert queue is not None
    assert queue.behind
    assert not queue.waiting
    running.world.down.clear()
    running.world.destinations.retry_now(ONE)
    await running.say(rooms[0], "and on")
    await running.world.until(lambda: len(running.world.events(ONE)) >= 151)
    assert running.world.events(ONE) == [*expected, "and on"]
    assert not queue.behind


async def test_a_server_that_speaks_to_us_gets_its_events_at_once(database: Database) -> None:
    async with sending(database, first_retry=1000) as running:
        running.world.down.add(ONE)
        room = await running.room(ONE)
        await running.say(room, "hello")
        await running.world.until(lambda: bool(running.world.tries))
        await running.say(room, "still there?")
        running.world.down.clear()
        running.world.destinations.spoke_to_us(ONE)
        await running.world.until(lambda: len(running.world.events(ONE)) == 2)
        assert running.world.events(ONE) == ["hello", "still there?"]


async def test_a_lost_answer_repeats_the_same_transaction(running: Running) -> None:
    running.world.mute.add(ONE)
    room = await running.room(ONE)
    await running.say(room, "hello")
    await running.world.until(lambda: bool(running.world.tries))
    await running.say(room, "more")
    await running.world.until(lambda: len(running.world.tries) > 2)
    assert len(set(running.world.tries)) == 1
    running.world.mute.clear()
    await running.world.until(lambda: len(running.world.events(ONE)) == 2)
    assert running.world.events(ONE) == ["hello", "more"]


async def test_what_was_on_its_way_at_the_end_is_sent_by_the_next_run(database: Database) -> None:
    first = await begin(database)
    first.world.stuck.add(ONE)
    room = await first.room(ONE, TWO)
    for number in range(5):
        await first.say(room, str(number))
    await first.world.until(lambda: len(first.world.events(TWO)) == 5 and bool(first.world.in_flight))
    await first.stop()
    async with database.read() as conn:
        assert await conn.fetchval("SELECT array_agg(destination) FROM destination_bookmarks") == [ONE]
    async with sending(database) as second:
        await second.say(room, "5")
        await second.world.until(
            lambda: len(second.world.events(ONE)) == 6 and len(second.world.events(TWO)) == 1
        )
        assert second.world.events(ONE) == list("012345")
        assert second.world.events(TWO) == ["5"]


async def test_a_crash_repeats_at_worst_what_had_arrived(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not stored before the crash happens again, in the same transactions."""
    first = await begin(database)
    room = await first.room(ONE)
    await first.followed(first.foundation.notifier.position)
    await first.parts.sender.roster.store(first.parts.sender.position)
    with monkeypatch.context() as crash:
        crash.setattr("storage.outbound_bookmarks.save", AsyncMock())
        await first.say(room, "hello")
        await first.world.until(lambda: bool(first.world.events(ONE)))
        await first.stop()
    async with sending(database) as second:
        await second.world.until(lambda: bool(second.world.events(ONE)))
        assert second.world.taken[ONE].keys() == first.world.taken[ONE].keys()


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_fails_everything_comes_and_in_order(database: Database, seed: int) -> None:
    """Attempts fail at random, before or after they have arrived, and the server is started anew three times."""
    dice = random.Random(seed)
    run = await begin(database, first_retry=0.001, longest_retry=0.01)
    run.world.luck = dice
    rooms = [await run.room(ONE, TWO), await run.room(TWO, THREE)]
    said: dict[str, list[str]] = {ONE: [], TWO: [], THREE: []}
    for number in range(200):
        room = dice.randrange(2)
        await run.say(rooms[room], str(number))
        for server in (ONE, TWO) if room == 0 else (TWO, THREE):
            said[server].append(str(number))
        if number in (50, 100, 150):
            await run.stop()
            run = await begin(database, first_retry=0.001, longest_retry=0.01, past=run.world)
    for server, expected in said.items():
        await run.world.until(partial(has_all, run, server, expected))
        assert list(dict.fromkeys(run.world.events(server))) == expected
    await run.stop()


def has_all(running: Running, server: str, expected: list[str]) -> bool:
    return set(expected) <= set(running.world.events(server))


async def test_what_was_written_while_nobody_followed_is_found(database: Database) -> None:
    first = await begin(database)
    room = await first.room(ONE)
    await first.followed(first.foundation.notifier.position)
    await first.stop()
    await first.say(room, "in between")
    async with sending(database) as second:
        await second.world.until(lambda: bool(second.world.events(ONE)))
        assert second.world.events(ONE) == ["in between"]


async def test_after_a_long_outage_only_the_newest_events_are_sent(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch_up, "NEWEST", 10)
    running.world.down.add(ONE)
    room, quiet = await running.room(ONE), await running.room(ONE)
    await running.say(quiet, "quiet")
    for number in range(29):
        await running.say(room, str(number))
    last = await running.say(room, "29")
    await running.followed(last.position)
    queue = running.parts.sender.roster.queue(ONE)
    assert queue is not None
    queue.forget_parcel()
    running.world.down.clear()
    running.world.destinations.retry_now(ONE)
    await running.world.until(lambda: "29" in running.world.events(ONE))
    assert running.world.events(ONE) == ["quiet", *map(str, range(20, 30))]


async def test_who_was_removed_during_an_outage_gets_everything_up_to_that(running: Running) -> None:
    running.world.down.add(ONE)
    room = await running.room(ONE)
    for number in range(60):
        await running.say(room, str(number))
    await running.member(room, THEM, "leave", by=ALICE)
    last = await running.say(room, "not for them")
    await running.followed(last.position)
    running.world.down.clear()
    running.world.destinations.retry_now(ONE)
    await running.world.until(lambda: len(running.world.events(ONE)) == 61)
    queue = running.parts.sender.roster.queue(ONE)
    assert queue is not None
    await eventually(lambda: not queue.has_anything)
    assert running.world.events(ONE) == [*map(str, range(60)), f"{THEM} leave"]


async def test_a_transaction_that_a_server_cannot_take_does_not_block_what_follows(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("federation.courier.PATIENCE_WITH_REFUSALS", 1)
    running.world.refusing[ONE] = 400
    room = await running.room(ONE)
    await running.say(room, "poison")
    await running.world.until(lambda: bool(running.world.tries))
    running.world.refusing.clear()
    await running.say(room, "bread")
    await running.world.until(lambda: bool(running.world.events(ONE)))
    assert running.world.events(ONE) == ["bread"]


async def test_to_device_messages_are_never_lost(running: Running, database: Database) -> None:
    running.world.down.add(ONE)
    messages = [b'{"content":{"n":%d},"edu_type":"m.direct_to_device"}' % number for number in range(150)]

    async def job(conn: Connection, position: int) -> None:
        await outbound_to_device.add(conn, position, [(ONE, message) for message in messages])

    await running.foundation.committer.run(
        job, Touched(elsewhere=Kind.TO_DEVICE_ELSEWHERE, kind=Kind.TO_DEVICE)
    )
    await running.world.until(lambda: bool(running.world.tries))
    await running.stop()
    async with sending(database) as second:
        await second.world.until(lambda: len(second.world.edus(ONE, "m.direct_to_device")) == 150)
        assert [edu["n"] for edu in second.world.edus(ONE, "m.direct_to_device")] == list(range(150))
        queue = second.parts.sender.roster.queue(ONE)
        assert queue is not None
        await eventually(lambda: not queue.has_anything)
    async with database.read() as conn:
        assert await outbound_to_device.counts(conn, [ONE]) == {}


@pytest.mark.parametrize("failing", ["pending", "page"])
async def test_a_database_that_fails_while_a_transaction_is_made_loses_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Neither the events that had been read by then nor the news that EDUs are waiting."""
    monkeypatch.setattr(lanes, "AFTER_A_FAULT", 1)
    owner = ToDeviceSource if failing == "pending" else catch_up.CatchUp
    reading, faults = getattr(owner, failing), [Unavailable("the database is down")]

    async def once(*args: object) -> object:
        if faults:
            raise faults.pop()
        return await reading(*args)

    async def job(conn: Connection, position: int) -> None:
        await outbound_to_device.add(
            conn, position, [(ONE, b'{"content":{},"edu_type":"m.direct_to_device"}')]
        )

    # Nobody tries again before the test says so: by then there are both events and EDUs.
    async with sending(database, first_retry=3600) as running:
        running.world.down.add(ONE)
        room = await running.room(ONE)
        await running.say(room, "hello")
        await running.world.until(lambda: bool(running.world.tries))
        queue = running.parts.sender.roster.queue(ONE)
        assert queue is not None
        monkeypatch.setattr(owner, failing, once)
        await running.foundation.committer.run(
            job, Touched(elsewhere=Kind.TO_DEVICE_ELSEWHERE, kind=Kind.TO_DEVICE)
        )
        await eventually(lambda: bool(queue.sources))
        running.world.down.clear()
        running.world.destinations.retry_now(ONE)
        await running.world.until(lambda: bool(running.world.edus(ONE, "m.direct_to_device")))
        await running.world.until(lambda: bool(running.world.events(ONE)))
        assert running.world.events(ONE)[-1] == "hello"
        assert not faults


async def test_a_server_we_must_not_speak_to_gets_nothing(running: Running) -> None:
    running.parts.sender.roster.peers = type(running.parts.sender.roster.peers)(
        "example.org", denied=("one.*",)
    )
    room = await running.room(ONE, TWO)
    await running.say(room, "hello")
    await running.world.until(lambda: bool(running.world.events(TWO)))
    assert running.parts.sender.roster.known(ONE) is None
