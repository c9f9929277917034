"""EDUs that must not be lost: where the sender gets them from, and whom it tells that they have arrived.

What may be lost on the way (typing, receipts, presence) is in `federation.mailbox`.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from attrs import frozen

from storage import outbound_to_device
from storage.committer import Kind
from storage.database import Database

Place = tuple[int, int]  # of an EDU in its source: position of the clock, order within


@frozen
class EduBatch:
    """The oldest EDUs that a server has not got, each the canonical bytes of an object with edu_type and content."""

    edus: Sequence[bytes]
    upto: Place


class EduSource(Protocol):
    """A kind of EDU that waits in the database until its destination has answered 200.

    `pending` is asked again, for the next ones, after `delivered` has returned; one batch a destination is on its way
    at any time. After a crash, EDUs that had arrived may come again.
    """

    @property
    def kind(self) -> Kind:
        """The kind of commits that may have brought something new."""
        ...

    async def destinations(self, after: int, upto: int) -> Collection[str]:
        """The servers for which something came in this span of the clock; from 0: all that wait at the start."""
        ...

    async def pending(self, destination: str, limit: int) -> EduBatch | None:
        """The oldest EDUs for a server, at most `limit` and more only if there are so many; None: nothing waits."""
        ...

    async def delivered(self, destination: str, upto: Place) -> None:
        """The server has everything up to there."""
        ...


@frozen(eq=False)
class ToDeviceSource:
    """m.direct_to_device [ss "Send-to-device messaging"]."""

    database: Database

    @property
    def kind(self) -> Kind:
        return Kind.TO_DEVICE_ELSEWHERE

    async def destinations(self, after: int, upto: int) -> Collection[str]:
        async with self.database.read() as conn:
            return await outbound_to_device.destinations(conn, after, upto)

    async def pending(self, destination: str, limit: int) -> EduBatch | None:
        async with self.database.read() as conn:
            rows = await outbound_to_device.waiting(conn, destination, limit)
        return EduBatch([row[2] for row in rows], rows[-1][:2]) if rows else None

    async def delivered(self, destination: str, upto: Place) -> None:
        async with self.database.writer() as conn:
            await outbound_to_device.delete(conn, destination, upto)
