"""No history at all: what `current_state`, which every design keeps, costs by itself."""

from collections.abc import Mapping, Sequence

from attrs import define

from benchmarks.state_storage.design import Change
from storage.database import Connection


@define
class Nothing:
    """Can only be written to."""

    name: str = "current state only"
    tables: tuple[str, ...] = ()
    ref_bytes: int = 0

    async def prepare(self, conn: Connection, changes: Sequence[Change]) -> None:
        del conn, changes

    async def seed(self, conn: Connection, room_nid: int, entries: Mapping[int, int]) -> None:
        del conn, room_nid, entries

    async def write(self, conn: Connection, changes: Sequence[Change]) -> list[None]:
        del conn
        return [None] * len(changes)
