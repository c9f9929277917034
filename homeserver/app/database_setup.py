"""What happens to a database before anybody uses it; what is wrong is told in the operator's words."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from homeserver.app.options import Failure
from storage.migrate import Migration, SchemaRefused, migrate, pending
from storage.preflight import DatabaseRefused, connect_checked


async def prepare_database(url: str, report: Callable[[str], None]) -> int:
    """Refuse what is unfit, create or change the tables; the number of changes."""
    with _told():
        conn = await connect_checked(url)
        try:
            return await migrate(conn, report=report)
        finally:
            await conn.close()


async def due_changes(url: str) -> list[Migration]:
    """Refuse what is unfit; what `prepare_database` would change."""
    with _told():
        conn = await connect_checked(url)
        try:
            return await pending(conn)
        finally:
            await conn.close()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (DatabaseRefused, SchemaRefused) as cause:
        raise Failure(f"the database cannot be used as it is.\n{cause}") from cause
