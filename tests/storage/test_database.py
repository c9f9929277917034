"""The two pools: what each allows, and what callers learn when the database is gone."""

import asyncio

import pytest

from storage.database import Database, PoolSizes, SerializationFailure, Unavailable, UniqueViolation


@pytest.fixture
async def numbers(database):
    async with database.transaction() as conn:
        await conn.execute("CREATE TABLE numbers (n bigint PRIMARY KEY)")
    return database


async def count(database):
    async with database.read() as conn:
        return await conn.fetchval("SELECT count(*) FROM numbers")


async def test_a_transaction_commits_at_the_end_of_its_block(numbers):
    async with numbers.transaction() as conn:
        await conn.execute("INSERT INTO numbers SELECT unnest($1::bigint[])", [1, 2, 3])
        assert await count(numbers) == 0
    assert await count(numbers) == 3


async def test_an_exception_rolls_back(numbers):
    with pytest.raises(UniqueViolation):
        async with numbers.transaction() as conn:
            await conn.execute("INSERT INTO numbers VALUES (1)")
            await conn.execute("INSERT INTO numbers VALUES (1)")
    assert await count(numbers) == 0


@pytest.mark.parametrize("snapshot", [False, True])
async def test_reading_connections_cannot_write(numbers, snapshot):
    async with numbers.read(snapshot=snapshot) as conn:
        with pytest.raises(Exception, match="read-only transaction"):
            await conn.execute("INSERT INTO numbers VALUES (1)")


async def test_a_snapshot_sees_one_moment(numbers):
    async with numbers.read(snapshot=True) as old:
        assert await old.fetchval("SELECT count(*) FROM numbers") == 0
        async with numbers.transaction() as conn:
            await conn.execute("INSERT INTO numbers VALUES (1)")
        assert await old.fetchval("SELECT count(*) FROM numbers") == 0
    assert await count(numbers) == 1


async def test_work_that_loses_a_race_is_done_again(numbers):
    attempts = []

    async def work(conn):
        attempts.append(1)
        await conn.execute("INSERT INTO numbers VALUES ($1)", len(attempts))
        if len(attempts) < 3:
            raise SerializationFailure[0]("could not serialize access")
        return "done"

    assert await numbers.retrying(work) == "done"
    assert len(attempts) == 3
    assert await count(numbers) == 1


async def test_no_free_connection_in_time(pg_url):
    database = Database(url=pg_url, sizes=PoolSizes(writers=1, readers=1, acquire_timeout=0.05))
    await database.connect()
    async with database.read():
        with pytest.raises(Unavailable):
            async with database.read():
                pass
    await database.close()


async def test_a_lost_connection_is_told_as_such_and_replaced(numbers):
    with pytest.raises(Unavailable):
        async with numbers.transaction() as conn:
            pid = await conn.fetchval("SELECT pg_backend_pid()")
            async with numbers.read() as other:
                await other.fetchval("SELECT pg_terminate_backend($1)", pid)
            await conn.fetchval("SELECT 1")
    assert await count(numbers) == 0
    async with numbers.transaction() as conn:
        await conn.execute("INSERT INTO numbers VALUES (1)")
    assert await count(numbers) == 1


async def test_callers_own_errors_pass_unchanged(numbers):
    with pytest.raises(FileNotFoundError):
        async with numbers.transaction():
            raise FileNotFoundError("not the database's")


async def test_closing_waits_for_a_running_statement(pg_url):
    database = Database(url=pg_url)
    await database.connect()
    started = asyncio.Event()

    async def slow():
        async with database.read() as conn:
            started.set()
            return await conn.fetchval("SELECT 7 FROM pg_sleep(0.1)")

    task = asyncio.create_task(slow())
    await started.wait()
    await database.close()
    assert await task == 7
