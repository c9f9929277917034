"""Design E: the server's own state log and overlays, written and read as the server does it."""

from collections.abc import Mapping, Sequence

from attrs import define, field

from benchmarks.state_storage.design import Change
from homeserver.core.room_versions import V12
from homeserver.services.room_states import RoomStates
from storage import room_state
from storage.database import Connection
from storage.events import EventReader
from storage.room_state import StatePoint
from storage.rooms import Room, RoomRegistry
from storage.state_keys import StateKeys

_INSERT = """
INSERT INTO state_log (room_nid, key_nid, sp, event_nid)
SELECT * FROM unnest($1::int[], $2::int[], $3::int[], $4::bigint[])
"""

_PURGE = """
WITH last AS (
    SELECT DISTINCT ON (key_nid) key_nid, sp FROM state_log
     WHERE room_nid = $1 AND sp <= $2 ORDER BY key_nid, sp DESC
)
DELETE FROM state_log l USING last
 WHERE l.room_nid = $1 AND l.key_nid = last.key_nid AND l.sp < last.sp
"""


@define
class Log:
    """`state_log` and `state_overlays` of the schema."""

    name: str = "E: log"
    tables: tuple[str, ...] = ("state_log", "state_overlays")
    ref_bytes: int = 4  # state_sp; overlay_nid is null on the main line
    _ends: dict[int, int] = field(factory=dict)
    _states: RoomStates = field(factory=lambda: RoomStates(EventReader(RoomRegistry()), StateKeys(None)))  # type: ignore[arg-type]

    async def prepare(self, conn: Connection, changes: Sequence[Change]) -> None:
        del conn, changes  # the schema is there

    async def seed(self, conn: Connection, room_nid: int, entries: Mapping[int, int]) -> StatePoint:
        return (await self.write(conn, [Change(room_nid, *entry) for entry in entries.items()]))[-1]

    async def write(self, conn: Connection, changes: Sequence[Change]) -> list[StatePoint]:
        rows = []
        for change in changes:
            sp = self._ends[change.room_nid] = self._ends.get(change.room_nid, 0) + 1
            rows.append((change.room_nid, change.key_nid, sp, change.event_nid))
        await conn.execute(_INSERT, *(list(column) for column in zip(*rows, strict=True)))
        return [StatePoint(row[2]) for row in rows]

    async def branch(self, conn: Connection, room_nid: int, changes: Sequence[Change]) -> list[StatePoint]:
        points = [StatePoint(self._ends[room_nid])]
        for change in changes:
            overlay = {**points[-1].overlay, change.key_nid: change.event_nid}
            points.append(StatePoint(points[-1].sp, overlay))
            await room_state.intern_overlay(conn, room_nid, points[-1])
        return points[1:]

    async def keyed(self, conn: Connection, room_nid: int, ref: StatePoint, key_nid: int) -> int | None:
        return (await room_state.at_point(conn, room_nid, ref, [key_nid])).get(key_nid)

    async def whole(self, conn: Connection, room_nid: int, ref: StatePoint) -> dict[int, int]:
        return await room_state.whole(conn, room_nid, ref)

    async def differences(
        self, conn: Connection, room_nid: int, one: StatePoint, other: StatePoint
    ) -> set[int]:
        return set(await self._states.differences(conn, Room(room_nid, "", V12), [one, other]))

    async def purge(self, conn: Connection, room_nid: int, ref: StatePoint) -> int:
        return int((await conn.execute(_PURGE, room_nid, ref.sp)).split()[-1])
