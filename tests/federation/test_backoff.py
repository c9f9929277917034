"""Servers that fail are left alone, and for how long."""

import asyncio

import pytest

from federation import backoff
from federation.backoff import Destinations
from homeserver.core.backoff import Backoff
from storage import destinations as table

THERE = "there.test"


START = 1_700_000_000_000


class Hands:
    """A clock that a test turns, in ms."""

    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now

    def turn(self, seconds):
        self.now += int(seconds * 1000)


@pytest.fixture
def hands():
    return Hands()


@pytest.fixture
def told():
    return []


@pytest.fixture
def destinations(database, hands, told):
    return Destinations(database, Backoff(first=10), clock=hands, changed=told.append)


def test_unknown_servers_may_be_asked(destinations):
    assert destinations.may_ask(THERE)
    assert destinations.retry_at(THERE) == 0


def test_longer_and_longer(destinations, hands):
    for seconds in (10, 30, 90, 270):
        destinations.failed(THERE, "no route")
        assert not destinations.may_ask(THERE)
        hands.turn(seconds * 0.79)
        assert not destinations.may_ask(THERE)
        hands.turn(seconds * 0.42)
        assert destinations.may_ask(THERE)
    standing = destinations.standing(THERE)
    assert (standing.failures, standing.failing_since, standing.last_error) == (4, START, "no route")


def test_failures_together_count_once(destinations):
    for _ in range(50):
        destinations.failed(THERE, "down")
    assert destinations.standing(THERE).failures == 1


def test_an_answer_ends_it(destinations, hands, told):
    destinations.failed(THERE, "down")
    hands.turn(5)
    destinations.answered(THERE)
    assert destinations.may_ask(THERE)
    standing = destinations.standing(THERE)
    assert (standing.failures, standing.last_success, standing.failing_since) == (0, hands.now, 0)
    assert told == [THERE]


def test_who_speaks_is_up(destinations, hands, told):
    destinations.failed(THERE, "down")
    destinations.spoke_to_us(THERE)
    assert destinations.may_ask(THERE)
    assert told == [THERE]
    destinations.spoke_to_us(THERE)
    destinations.spoke_to_us("other.test")
    assert told == [THERE]


def test_who_speaks_but_never_answers_is_not_asked_all_the_time(destinations, hands):
    destinations.failed(THERE, "down")
    destinations.spoke_to_us(THERE)
    destinations.failed(THERE, "down")
    destinations.spoke_to_us(THERE)
    assert not destinations.may_ask(THERE)
    assert destinations.standing(THERE).failures == 2
    hands.turn(30)
    destinations.failed(THERE, "down")
    destinations.spoke_to_us(THERE)
    assert destinations.may_ask(THERE)


def test_a_wish_to_be_left_alone(destinations, hands):
    destinations.hold(THERE, 7)
    destinations.spoke_to_us(THERE)
    destinations.answered(THERE)
    assert not destinations.may_ask(THERE)
    hands.turn(7)
    assert destinations.may_ask(THERE)


def test_the_operator_knows_better(destinations, told):
    destinations.failed(THERE, "down")
    destinations.hold(THERE, 100)
    destinations.retry_now(THERE)
    assert destinations.may_ask(THERE)
    assert told == [THERE]


async def test_waiting_for_the_end(database, destinations):
    await destinations.until_may_ask(THERE)
    destinations.failed(THERE, "down")
    waiting = asyncio.create_task(destinations.until_may_ask(THERE))
    await asyncio.sleep(0)
    assert not waiting.done()
    destinations.spoke_to_us(THERE)
    await asyncio.wait_for(waiting, 5)
    brief = Destinations(database, Backoff(first=0.01))
    brief.failed(THERE, "down")
    await asyncio.wait_for(brief.until_may_ask(THERE), 5)


def test_memory_is_bounded(destinations, monkeypatch):
    monkeypatch.setattr(backoff, "_MOST", 10)
    for number in range(50):
        destinations.failed(f"{number}.test", "down")
        destinations.hold(f"{number}.test", 1)
    assert not destinations.may_ask("49.test")
    assert destinations.may_ask("1.test")


async def test_a_restart_knows_who_was_down(database, destinations, hands):
    destinations.failed(THERE, "no\x00route")
    destinations.answered("good.test")
    await destinations.flush()
    later = Destinations(database, Backoff(first=10), clock=hands)
    await later.load()
    assert later.standing(THERE) == destinations.standing(THERE)
    assert not later.may_ask(THERE)
    assert later.may_ask("good.test")


async def test_only_changes_are_written(database, destinations, hands):
    destinations.answered(THERE)
    await destinations.flush()
    hands.turn(60)
    destinations.answered(THERE)
    await destinations.flush()
    async with database.read() as conn:
        (row,) = await table.page(conn, "", 10)
    assert row.last_success == START
    hands.turn(3600)
    destinations.answered(THERE)
    await destinations.flush()
    async with database.read() as conn:
        (row,) = await table.page(conn, "", 10)
    assert row.last_success == hands.now


async def test_the_last_changes_are_written_at_the_stop(database, destinations):
    task = asyncio.create_task(destinations.run())
    await asyncio.sleep(0)
    destinations.failed(THERE, "down")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.read() as conn:
        assert [row.server_name for row in await table.failing(conn, 10)] == [THERE]
