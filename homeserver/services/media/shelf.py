"""Files and the rows that name them, kept in step: there is never a row without its file.

A file comes to its place, and leaves it, only in a transaction that holds the lock on its content. What a crash leaves
behind is a file without a row; `sweep` finds it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from attrs import Factory, field, frozen

from homeserver.services.media.files import ContentFiles, Draft
from homeserver.services.media.rows import MediaRows
from storage import media
from storage.database import Connection, Database

T = TypeVar("T")

_AT_ONCE = 200
_YOUNG = 3600.0  # seconds; a younger file may be about to get its row
_PARTS = 256


@frozen
class Shelf:
    """Keeps and drops contents."""

    database: Database
    files: ContentFiles
    rows: MediaRows = field(
        default=Factory(lambda shelf: MediaRows(shelf.database), takes_self=True), repr=False
    )

    async def keep(
        self, draft: Draft, record: Callable[[Connection], Awaitable[T]], *, lasting: bool = True
    ) -> T:
        """Put the file in its place if `record` writes the row; what it raises undoes all.

        What is not `lasting` can be made again, should a power failure leave the row alone.
        """
        async with self.database.transaction() as conn:
            await media.lock_files(conn, [draft.content.digest])
            recorded = await record(conn)
            await self.files.settle(draft, lasting=lasting)
            return recorded

    @asynccontextmanager
    async def withdrawing(self) -> AsyncIterator[Connection]:
        """A transaction that withholds media, gives them free, or removes them: nobody may remember them."""
        try:
            async with self.database.transaction() as conn:
                yield conn
                await media.count_withdrawal(conn)
        finally:
            self.rows.forget()

    async def drop(self, digests: Sequence[bytes]) -> int:
        """Remove the files that nothing names any more; gives how many."""
        dropped = 0
        for begin in range(0, len(digests), _AT_ONCE):
            dropped += await self._drop(digests[begin : begin + _AT_ONCE])
        return dropped

    async def _drop(self, digests: Sequence[bytes]) -> int:
        async with self.database.transaction() as conn:
            await media.lock_files(conn, digests)
            unused = await media.unused_files(conn, digests)
            await self.files.remove(unused)
        return len(unused)

    async def sweep(self, now: Callable[[], float] = time.time) -> int:
        """Remove what crashes left behind; gives the number of files."""
        before, swept = now() - _YOUNG, 0
        await asyncio.to_thread(self.files.forget_drafts, before - 23 * 3600)
        for part in range(_PARTS):
            listed = await asyncio.to_thread(self.files.listed, part, before)
            for begin in range(0, len(listed), _AT_ONCE):
                async with self.database.read() as conn:
                    unused = await media.unused_files(conn, listed[begin : begin + _AT_ONCE])
                swept += await self.drop(unused)
        return swept
