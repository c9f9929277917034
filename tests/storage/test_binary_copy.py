"""Rows that are written as PostgreSQL reads them: the same values come out as went in."""

import math

import pytest

from storage import binary_copy
from storage.binary_copy import (
    boolean,
    bytea,
    copy_encoded,
    int2,
    int4,
    int4s,
    int8,
    int8s,
    packed,
    row_of,
    text,
)
from storage.database import Connection, Database, UniqueViolation

COLUMNS = {
    "n": int4, "small": int2, "big": int8, "flag": boolean, "word": text, "raw": bytea, "few": int4s, "many": int8s
}  # fmt: skip
ROWS = [
    (1, 2**15 - 1, 2**63 - 1, True, "naïve ☃ \n\t\\N", b"\x00\xff\\.", (1, -2, 2**31 - 1), (-(2**63), 5)),
    (2, -(2**15), -(2**63), False, "", b"", (), ()),
    (3, None, None, None, None, None, None, None),
]


async def table(database: Database) -> None:
    async with database.writer() as conn:
        await conn.execute(
            "CREATE TABLE copied (n int PRIMARY KEY, small smallint, big bigint, flag boolean, word text, raw bytea,"
            " few int[], many bigint[])"
        )


async def copy_rows(conn: Connection, columns, rows) -> None:
    encoded = (
        row_of(len(columns), *(e(v) for e, v in zip(columns.values(), row, strict=True))) for row in rows
    )
    await copy_encoded(conn, "copied", list(columns), encoded)


def test_numbers_that_are_packed() -> None:
    assert packed("int4", "int2", "int8")(-1, 2, 2**40) == int4(-1) + int2(2) + int8(2**40)
    assert packed("int8", "int8", "int4", "int2")(1, 2, 3, -4) == int8(1) + int8(2) + int4(3) + int2(-4)


async def test_what_goes_in_comes_out(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary_copy, "PIECE", 100)  # several pieces
    await table(database)
    async with database.writer() as conn:
        await copy_rows(conn, COLUMNS, ROWS)
        await copy_rows(conn, COLUMNS, [])
        rows = await conn.fetch("SELECT * FROM copied ORDER BY n")
    found = [tuple(tuple(value) if isinstance(value, list) else value for value in row) for row in rows]
    assert found == ROWS


async def test_all_or_nothing(database: Database) -> None:
    await table(database)
    rows = [(n % 1_000, *ROWS[1][1:]) for n in range(1_001)]
    async with database.writer() as conn:
        with pytest.raises(UniqueViolation):
            await copy_rows(conn, COLUMNS, rows)
        assert await conn.fetchval("SELECT count(*) FROM copied") == 0
        with pytest.raises(TypeError):
            await copy_rows(conn, {"n": bytea}, [(math.pi,)])
        assert await conn.fetchval("SELECT count(*) FROM copied") == 0
