"""Group commit: shared turns, faults that stay with their part, numbers in the order of commits."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from storage.committer import Committed, Committer, Touched
from storage.database import Connection, Database, Unavailable
from storage.streams import advance, current_position

Job = Callable[[Connection, int], Awaitable[int]]


class Heard:
    """What the committer announced."""

    def __init__(self) -> None:
        self.positions: list[int] = []
        self.turns = 0

    def __call__(self, position: int, commits: list[Committed]) -> None:
        self.turns += 1
        self.positions += [commit.first for commit in commits]
        assert position >= max(self.positions)


def noting(user_nid: int) -> Job:
    """A job that writes one row under its number."""

    async def job(conn: Connection, position: int) -> int:
        await conn.execute(
            "INSERT INTO device_list_changes (position, user_nid) VALUES ($1, $2)", position, user_nid
        )
        return position

    return job


async def failing(conn: Connection, position: int) -> int:
    await conn.execute("SELECT 1 / 0")
    return position


async def test_those_who_wait_together_share_turns(database: Database) -> None:
    heard = Heard()
    committer = Committer(database, heard)
    positions = await asyncio.gather(*[committer.run(noting(n), Touched()) for n in range(50)])
    assert sorted(positions) == list(range(min(positions), min(positions) + 50))
    assert heard.positions == sorted(positions)
    assert heard.turns <= 3


async def test_a_fault_stays_with_its_part(database: Database) -> None:
    committer = Committer(database, Heard())
    jobs = [noting(1), failing, noting(2)]
    first, fault, last = await asyncio.gather(
        *[committer.run(job, Touched()) for job in jobs], return_exceptions=True
    )
    assert isinstance(first, int)
    assert isinstance(last, int)
    assert "division by zero" in str(fault)
    async with database.read() as conn:
        assert await conn.fetchval("SELECT count(*) FROM device_list_changes") == 2
        assert await current_position(conn) == max(first, last)


async def test_a_caller_who_leaves_undoes_nothing(database: Database) -> None:
    committer = Committer(database, Heard())
    caller = asyncio.create_task(committer.run(noting(1), Touched()))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await committer.drain()
    async with database.read() as conn:
        assert await conn.fetchval("SELECT count(*) FROM device_list_changes") == 1


async def test_a_fault_of_the_listener_keeps_nobody_waiting(database: Database) -> None:
    def faulty(position: int, commits: list[Committed]) -> None:
        raise RuntimeError("a listener's fault")

    committer = Committer(database, faulty)
    async with asyncio.timeout(5):
        first = await committer.run(noting(1), Touched())
        assert await committer.run(noting(2), Touched()) == first + 1


async def test_numbers_become_visible_in_order(database: Database) -> None:
    """A transaction that took a number holds up the next one until it ends: no gap is ever seen."""
    async with database.transaction() as first:
        taken = await advance(first, 1)
        other = asyncio.create_task(_advance_alone(database))
        done, _ = await asyncio.wait([other], timeout=0.05)
        assert not done
        async with database.read() as reader:
            assert await current_position(reader) == taken
    assert await other == taken + 1


async def _advance_alone(database: Database) -> int:
    async with database.transaction() as conn:
        return await advance(conn, 1)


async def test_a_lost_database_is_not_asked_part_by_part(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the turn was written is unknown: done again, its jobs might be done twice."""
    lost = 0

    @asynccontextmanager
    async def transaction(self: Database) -> AsyncIterator[Connection]:
        nonlocal lost
        lost += 1
        raise Unavailable("lost")
        yield

    monkeypatch.setattr(Database, "transaction", transaction)
    committer = Committer(database, Heard())
    faults = await asyncio.gather(
        *[committer.run(noting(n), Touched()) for n in range(5)], return_exceptions=True
    )
    assert [type(fault) for fault in faults] == [Unavailable] * 5
    assert lost == 1
