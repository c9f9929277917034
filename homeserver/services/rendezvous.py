"""Places where a new device and one that is logged in leave sealed messages for each other [MSC4108].

Anybody may make one, so they are few, small and short-lived; whoever knows the name of one reads and writes it.
"""

import secrets
from collections.abc import Callable

from attrs import frozen

from homeserver.core.errors import MatrixError, not_found
from homeserver.services.now import now_ms
from storage import rendezvous as rows
from storage.database import Database
from storage.rendezvous import Session

MAX_CONTENT = 4096  # bytes
MAX_SESSIONS = 1000
LIFETIME_MS = 5 * 60_000  # people look for their other device, and confirm on it


@frozen
class Rendezvous:
    """Keeps them."""

    database: Database
    clock: Callable[[], int] = now_ms

    async def begin(self, content: bytes) -> tuple[str, Session]:
        """A new place; gives its name. Raises M_LIMIT_EXCEEDED."""
        now, name = self.clock(), secrets.token_urlsafe(24)
        session = Session(1, now + LIFETIME_MS, content)
        async with self.database.transaction() as conn:
            if not await rows.add(conn, name, session, now, MAX_SESSIONS):
                raise MatrixError(
                    429, "M_LIMIT_EXCEEDED", "Too many devices are logging in just now; try again"
                )
        return name, session

    async def read(self, name: str) -> Session:
        """What stands there. Raises M_NOT_FOUND."""
        async with self.database.read() as conn:
            found = await rows.find(conn, name, self.clock())
        if found is None:
            raise _gone()
        return found

    async def write(self, name: str, content: bytes, instead_of: int) -> Session:
        """Replace what the writer has seen. Raises M_NOT_FOUND, and M_CONCURRENT_WRITE if it is another by now."""
        async with self.database.transaction() as conn:
            found = await rows.replace(conn, name, content, instead_of=instead_of, now=self.clock())
        if found is None:
            await self.read(name)
            raise MatrixError(
                412, "M_CONCURRENT_WRITE", "The other device has written meanwhile: read that first"
            )
        return found

    async def end(self, name: str) -> None:
        """Raises M_NOT_FOUND."""
        async with self.database.transaction() as conn:
            if not await rows.delete(conn, name):
                raise _gone()


def _gone() -> MatrixError:
    return not_found("There is no such rendezvous, or it is over")
