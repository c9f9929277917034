"""Both roads to today's schema lead to the same place, and no wrong turn is taken."""

import asyncio

import pytest

from storage.database import connect_once
from storage.migrate import (
    Migration,
    SchemaRefused,
    apply_from_nothing,
    migrate,
    pending,
    read_migrations,
)
from tests.kit.catalogue import catalogue, contents

ADD_A_TABLE = "CREATE TABLE later (n bigint PRIMARY KEY)"


def quiet(text):
    pass


@pytest.fixture
async def empty(postgres):
    url = await postgres.empty("TEMPLATE template0")
    conn = await connect_once(url)
    yield conn
    await conn.close()
    await postgres.drop(url)


@pytest.fixture
async def fresh(pg_url):
    conn = await connect_once(pg_url)
    yield conn
    await conn.close()


def and_one_more(sql=ADD_A_TABLE):
    known = read_migrations()
    return [*known, Migration(number=len(known) + 1, name="one_more", sql=sql)]


async def test_schema_and_migrations_lead_to_the_same_catalogue(fresh, empty):
    await apply_from_nothing(empty, read_migrations())
    hint = (
        "schema.sql and the migrations differ. Write the next migration; before the first release, while "
        "0001_initial is the only one, `make schema` copies schema.sql to it"
    )
    assert await catalogue(empty) == await catalogue(fresh), hint
    assert await contents(empty) == await contents(fresh), hint


async def test_the_comparison_sees_small_differences(fresh):
    await fresh.execute("CREATE TABLE t (n bigint)")
    seen = [await catalogue(fresh)]
    for change in (
        "ALTER TABLE t ALTER n SET DEFAULT 7",
        "ALTER TABLE t ALTER n SET NOT NULL",
        "CREATE INDEX ON t (n) WHERE n > 1",
        "ALTER TABLE t ADD CHECK (n < 9)",
        "COMMENT ON TABLE t IS 'why'",
        "COMMENT ON COLUMN t.n IS 'why'",
        "ALTER TABLE t SET UNLOGGED",
        "ALTER TABLE t SET (fillfactor = 80)",
        "ALTER TABLE t ALTER n TYPE numeric",
    ):
        await fresh.execute(change)
        now = await catalogue(fresh)
        assert now not in seen, change
        seen.append(now)


async def test_a_second_start_changes_nothing(fresh):
    assert await migrate(fresh, report=quiet) == 0
    assert await pending(fresh) == []


async def test_a_new_change_is_applied_once(fresh):
    assert await migrate(fresh, report=quiet, migrations=and_one_more()) == 1
    assert await fresh.fetchval("SELECT count(*) FROM later") == 0
    assert await migrate(fresh, report=quiet, migrations=and_one_more()) == 0


async def test_a_change_that_fails_leaves_no_trace(fresh):
    before = await catalogue(fresh)
    with pytest.raises(Exception, match="division by zero"):
        await migrate(fresh, report=quiet, migrations=and_one_more(ADD_A_TABLE + "; SELECT 1/0"))
    assert await catalogue(fresh) == before
    assert await migrate(fresh, report=quiet) == 0


async def test_a_newer_schema_is_refused(fresh):
    await migrate(fresh, report=quiet, migrations=and_one_more())
    with pytest.raises(SchemaRefused, match=r"this version of Homing knows \d+: install"):
        await migrate(fresh, report=quiet)
    with pytest.raises(SchemaRefused, match="one_more"):
        await pending(fresh)


async def test_a_change_that_was_edited_after_it_ran_is_refused(fresh):
    await migrate(fresh, report=quiet, migrations=and_one_more())
    with pytest.raises(SchemaRefused, match="another content"):
        await migrate(fresh, report=quiet, migrations=and_one_more(ADD_A_TABLE + " "))


async def test_processes_that_start_together_do_not_collide(postgres):
    url = await postgres.empty()

    async def start():
        conn = await connect_once(url)
        try:
            return await migrate(conn, report=quiet)
        finally:
            await conn.close()

    ran = await asyncio.gather(*(start() for _ in range(5)))
    assert sorted(ran) == [0, 0, 0, 0, len(read_migrations())]
    await postgres.drop(url)


@pytest.mark.parametrize(
    "names", [["0002_b.sql"], ["0001_a.sql", "0003_c.sql"], ["1_a.sql"], ["initial.sql"]]
)
def test_misnamed_migrations_are_refused(tmp_path, names):
    for name in names:
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(SchemaRefused):
        read_migrations(tmp_path)
