"""What the trials measure: time, sizes of tables, bytes of WAL, entries that PostgreSQL read."""

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from attrs import define

from storage.database import Connection


@define
class Spent:
    """Filled when the measured block ends."""

    seconds: float = 0.0
    wal: int = 0
    read: int = 0


@asynccontextmanager
async def measured(conn: Connection) -> AsyncIterator[Spent]:
    """Time, WAL and read entries of a block that uses `conn` alone."""
    spent = Spent()
    wal, read = await _wal(conn), await _read(conn)
    started = time.perf_counter()
    yield spent
    spent.seconds = time.perf_counter() - started
    spent.wal, spent.read = await _wal(conn) - wal, await _read(conn) - read


async def size(conn: Connection, tables: Iterable[str]) -> int:
    """Bytes of tables with their indexes and large values, vacuumed."""
    await conn.execute("VACUUM ANALYZE")
    return int(
        await conn.fetchval(
            "SELECT coalesce(sum(pg_total_relation_size(t::regclass)), 0) FROM unnest($1::text[]) AS t",
            list(tables),
        )
    )


async def content(conn: Connection, tables: Iterable[str]) -> int:
    """Bytes of all rows as stored, without free space and indexes: for growth below the size of a page."""
    return sum(
        [
            int(await conn.fetchval(f"SELECT coalesce(sum(pg_column_size(t.*) + 28), 0) FROM {table} t"))
            for table in tables
        ]
    )


async def _wal(conn: Connection) -> int:
    return int(await conn.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"))


async def _read(conn: Connection) -> int:
    await conn.execute("SELECT pg_stat_force_next_flush()")
    return int(
        await conn.fetchval(
            """
            SELECT (SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_all_indexes
                     WHERE schemaname IN ('public', 'pg_toast'))
                 + (SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_all_tables
                     WHERE schemaname IN ('public', 'pg_toast'))
            """
        )
    )
