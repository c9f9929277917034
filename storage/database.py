"""The way to PostgreSQL: two pools of connections, one that may write and one that cannot.

`read()` gives a connection on which PostgreSQL itself refuses every write; each statement sees what is committed when
it starts. `read(snapshot=True)` lets all statements of the block see one moment. `transaction()` is the way to write.
The connections keep no state of their own, so handing one back costs no round trip.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeVar

import asyncpg
from attrs import define, field, frozen

T = TypeVar("T")

# What storage's callers may catch without knowing the driver.
UniqueViolation = asyncpg.UniqueViolationError
SerializationFailure = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)

_LOST = (
    ConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
_NOT_REACHED = (
    OSError,
    TimeoutError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    *_LOST,
)
_ATTEMPTS = 5


class Unavailable(Exception):
    """The database cannot be reached now, or no connection came free in time."""


class Row(Protocol):
    """One row of a result, by column name or place."""

    def __getitem__(self, key: Any, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __len__(self) -> int: ...
    def get(self, key: str, default: Any = None, /) -> Any: ...
    def keys(self) -> Iterator[str]: ...
    def values(self) -> Iterator[Any]: ...
    def items(self) -> Iterator[tuple[str, Any]]: ...


class Connection(Protocol):
    """What storage functions use of a connection: asyncpg's, which has no types of its own."""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str: ...
    async def executemany(
        self, command: str, args: Iterable[Iterable[Any]], *, timeout: float | None = None
    ) -> None: ...
    async def fetch(self, query: str, *args: Any, timeout: float | None = None) -> list[Row]: ...
    async def fetchrow(self, query: str, *args: Any, timeout: float | None = None) -> Row | None: ...
    async def fetchval(
        self, query: str, *args: Any, column: int = 0, timeout: float | None = None
    ) -> Any: ...
    async def copy_records_to_table(
        self, table_name: str, *, records: Iterable[tuple[Any, ...]], columns: Iterable[str] | None = None
    ) -> str: ...
    async def copy_to_table(
        self,
        table_name: str,
        *,
        source: AsyncIterator[bytes],
        columns: Iterable[str],
        format: str,  # noqa: A002 (the driver's name for it)
    ) -> str: ...
    def cursor(self, query: str, *args: Any, prefetch: int | None = None) -> AsyncIterator[Row]: ...
    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False
    ) -> AbstractAsyncContextManager[Any]: ...
    def is_in_transaction(self) -> bool: ...


@frozen
class PoolSizes:
    """How many connections there may be, and how long anybody waits."""

    writers: int = 10
    readers: int = 20
    acquire_timeout: float = 10.0
    statement_timeout: float = 60.0


@define
class Database:
    """The pools of one database. `connect` before use, `close` after."""

    url: str = field(repr=False)
    sizes: PoolSizes = PoolSizes()
    _writers: Any = field(default=None, init=False, repr=False)
    _readers: Any = field(default=None, init=False, repr=False)
    _leading: asyncio.Semaphore = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._leading = asyncio.Semaphore(max(1, self.sizes.readers // 2))

    async def connect(self) -> None:
        """Open both pools, one connection each; more come as they are needed."""
        self._writers = await self._pool(self.sizes.writers, {})
        self._readers = await self._pool(self.sizes.readers, {"default_transaction_read_only": "on"})

    async def close(self) -> None:
        """Wait for running statements, then close. What does not end within the time of a statement is cut."""
        for pool in (self._readers, self._writers):
            if pool is not None:
                try:
                    await asyncio.wait_for(pool.close(), self.sizes.statement_timeout)
                except TimeoutError:
                    pool.terminate()
        self._readers = self._writers = None

    @asynccontextmanager
    async def read(self, *, snapshot: bool = False) -> AsyncIterator[Connection]:
        """A connection that cannot write; with `snapshot`, one moment for all statements of the block."""
        async with self._acquire(self._readers) as conn:
            if snapshot:
                async with conn.transaction(isolation="repeatable_read", readonly=True):
                    yield conn
            else:
                yield conn

    @asynccontextmanager
    async def leading_read(self) -> AsyncIterator[Connection]:
        """`read`, for who asks for further connections while holding this one.

        Only so many hold one that all of them find another; else they would wait for each other, and nobody go on.
        """
        async with self._leading, self.read() as conn:
            yield conn

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A read-committed transaction: committed at the end of the block, rolled back by an exception."""
        async with self._acquire(self._writers) as conn, conn.transaction():
            yield conn

    @asynccontextmanager
    async def writer(self) -> AsyncIterator[Connection]:
        """A connection that may write, each statement a transaction of its own: for single statements."""
        async with self._acquire(self._writers) as conn:
            yield conn

    async def retrying(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do `work` in a transaction, again from the start when it lost a race against another one.

        For work whose only effects are in the database: everything else in it happens once an attempt.
        """
        for attempt in range(1, _ATTEMPTS):
            try:
                async with self.transaction() as conn:
                    return await work(conn)
            except SerializationFailure:
                await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 (no secret)
        async with self.transaction() as conn:
            return await work(conn)

    async def dedicated(self) -> Any:
        """A connection outside the pools, for LISTEN or a session lock; whoever asks for it closes it."""
        return await connect_once(self.url)

    @asynccontextmanager
    async def _acquire(self, pool: Any) -> AsyncIterator[Connection]:
        try:
            conn = await pool.acquire(timeout=self.sizes.acquire_timeout)
        except _NOT_REACHED as cause:
            raise Unavailable("no connection to the database") from cause
        try:
            yield conn
        except _LOST as cause:
            raise Unavailable("the connection to the database was lost") from cause
        except asyncpg.InterfaceError as cause:
            if _is_gone(conn):
                raise Unavailable("the connection to the database was lost") from cause
            raise
        finally:
            await pool.release(conn)

    async def _pool(self, size: int, settings: dict[str, str]) -> Any:
        return await asyncpg.create_pool(
            self.url,
            min_size=1,
            max_size=size,
            command_timeout=self.sizes.statement_timeout,
            statement_cache_size=1000,
            max_cached_statement_lifetime=0,
            server_settings={"application_name": "homing", "jit": "off", **settings},
            reset=_leave_as_is,
        )


async def connect_once(url: str, *, timeout: float = 10.0) -> Any:
    """One connection, no pool: for migrations, checks and listeners."""
    return await asyncpg.connect(
        url, timeout=timeout, server_settings={"application_name": "homing", "jit": "off"}
    )


def _is_gone(conn: Any) -> bool:
    """Has this pooled connection been lost? The pool takes it away from its user at once, who then cannot even ask."""
    try:
        return bool(conn.is_closed())
    except asyncpg.InterfaceError:
        return True


async def _leave_as_is(conn: Any) -> None:
    """Between two users of a pooled connection nothing needs to be reset: nobody sets anything on one."""
