"""Rooms as other servers are told them: states and auth chains as numbers, events as the bytes that were signed.

Nothing is parsed to be sent, but for events that are shown in redacted form. A room's state can be large, so a long
list of events leaves in chunks, and between two of them no connection to the database is held.
"""

from collections.abc import AsyncIterator, Collection, Sequence

from attrs import frozen

from homeserver.core import canonical_json
from homeserver.core.redaction import redact
from homeserver.core.room_versions import RoomVersion
from storage import event_graph, room_state
from storage.database import Connection, Database
from storage.event_graph import StoredBytes
from storage.events import EventReader, StoredEvent
from storage.room_state import StatePoint
from storage.rooms import Room

CHUNK = 200  # events that are read and joined at once: some milliseconds


@frozen
class RoomExport:
    """Reads what answers to other servers are made of."""

    database: Database
    reader: EventReader

    async def before(self, conn: Connection, stored: StoredEvent) -> StatePoint:
        """The state before an event, which must not be an outlier."""
        assert stored.state_sp is not None, "an outlier has no state"
        if stored.overlay_nid is None:
            return StatePoint(stored.state_sp)
        return (await room_state.load_overlays(conn, [stored.overlay_nid]))[stored.overlay_nid]

    async def state_nids(self, conn: Connection, room: Room, point: StatePoint) -> list[int]:
        """The whole state at a point."""
        return await event_graph.state_nids(conn, room.nid, point)

    async def auth_chain(self, conn: Connection, room: Room, nids: Collection[int]) -> list[int]:
        """The auth chain of events; the events themselves are in it only where one authorizes another.

        Where the room's id is the hash of its create event, nobody names that event, and all stand on it.
        """
        chain = await event_graph.auth_chain(conn, room.nid, nids)
        if not nids or not room.version.room_id_is_create_hash:
            return chain
        create = await event_graph.number_of(conn, room.nid, "$" + room.room_id[1:])
        missing = create is not None and create not in chain and set(nids) != {create}
        return [create, *chain] if missing and create is not None else chain

    async def event_ids(self, conn: Connection, nids: Sequence[int]) -> list[str]:
        """The ids of events."""
        return await event_graph.event_ids(conn, nids)

    async def pdus(
        self, conn: Connection, nids: Sequence[int], *, hidden: Collection[int] = frozenset()
    ) -> list[bytes]:
        """The events as JSON, in this order; redacted ones, and those of `hidden`, in their redacted form."""
        found = {one.nid: one for one in await event_graph.stored_bytes(conn, nids)}
        rooms = await self.reader.rooms.by_nids(conn, {one.room_nid for one in found.values()})
        known = (found[nid] for nid in nids if nid in found and found[nid].room_nid in rooms)
        return [_shown(one, rooms[one.room_nid].version, hidden) for one in known]

    async def chunks(self, nids: Sequence[int]) -> AsyncIterator[bytes]:
        """The same as one JSON array, in pieces."""
        separator = b"["
        for start in range(0, len(nids), CHUNK):
            async with self.database.read() as conn:
                pdus = await self.pdus(conn, nids[start : start + CHUNK])
            if pdus:
                yield separator + b",".join(pdus)
                separator = b","
        yield b"[]" if separator == b"[" else b"]"


def _shown(stored: StoredBytes, version: RoomVersion, hidden: Collection[int]) -> bytes:
    if not stored.redacted and stored.nid not in hidden:
        return stored.json
    # Lenient for all: old rooms hold numbers that the strict form refuses.
    return canonical_json.encode_lenient(redact(canonical_json.decode_lenient(stored.json), version))
