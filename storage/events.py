"""Events by number, by id and by place in their room's timeline.

A `StoredEvent` is an event with the facts about it that are ours: its number and position, the state before it,
what became of it. A redacted event is read in its redacted form; the bytes in the table stay as they were signed.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

import orjson
from attrs import define, field, frozen

from homeserver.core import canonical_json
from homeserver.core.event import Event, event_from_pdu, share_strings
from homeserver.core.expiry import MARK
from homeserver.core.redaction import redact
from storage.database import Connection, Row
from storage.rooms import Room, RoomRegistry

DEFAULT_CACHE_BYTES = 48 * 1024 * 1024
_PARSED_AT_ONCE = 500  # events, before others get their turn
_OVERHEAD = 4  # a parsed event takes less than four times the bytes of its JSON

COLUMNS = (
    "event_nid, room_nid, position, event_id, state_sp, overlay_nid, line_sp, on_line, status, redacted_by, "
    "key_nid, txn_device, txn_id, chain, chain_seq, chain_links, json"
)


@frozen(eq=False)
class StoredEvent:
    """An event and what we know of it. State before it: (state_sp, overlay_nid)."""

    nid: int
    room: Room
    position: int | None
    event: Event
    key_nid: int | None = None
    state_sp: int | None = None
    overlay_nid: int | None = None
    line_sp: int | None = None
    on_line: bool = False
    status: int = 0
    redacted_by: int | None = None
    txn_device: int | None = None
    txn_id: str | None = None
    chain: int | None = None
    chain_seq: int | None = None
    chain_links: tuple[int, ...] = ()

    def at(self, position: int) -> "StoredEvent":
        """The same event, now that its place in the timeline is known (attrs' evolve costs ten times as much)."""
        return StoredEvent(
            self.nid, self.room, position, self.event, self.key_nid, self.state_sp, self.overlay_nid,
            self.line_sp, self.on_line, self.status, self.redacted_by, self.txn_device, self.txn_id,
            self.chain, self.chain_seq, self.chain_links,
        )  # fmt: skip


@define(eq=False)
class EventReader:
    """Turns rows into events, and remembers the parsed ones within a bound of bytes.

    A parsed event is immutable; a redacted one is remembered under another key than the full one. `is_over`, if such
    messages are heeded at all, says of those that name their end whether it has come; they then are read as redacted.
    """

    rooms: RoomRegistry
    max_bytes: int = DEFAULT_CACHE_BYTES
    cached_bytes: int = 0
    is_over: Callable[[Event], bool] | None = None
    _parsed: OrderedDict[tuple[int, bool], tuple[Event, int]] = field(factory=OrderedDict)

    async def by_nids(self, conn: Connection, nids: Iterable[int]) -> dict[int, StoredEvent]:
        """Those of the events that exist."""
        rows = await conn.fetch(
            f"SELECT {COLUMNS} FROM events WHERE event_nid = ANY($1::bigint[])",  # noqa: S608
            list(nids),
        )
        return {stored.nid: stored for stored in await self.read(conn, rows)}

    async def by_ids(self, conn: Connection, event_ids: Iterable[str]) -> dict[str, StoredEvent]:
        """Those of the events that we know, outliers and rejected ones too."""
        rows = await conn.fetch(
            f"SELECT {COLUMNS} FROM events WHERE event_id = ANY($1::text[])",  # noqa: S608
            list(event_ids),
        )
        return {stored.event.event_id: stored for stored in await self.read(conn, rows)}

    async def by_id(self, conn: Connection, event_id: str) -> StoredEvent | None:
        """One event, if we know it."""
        return (await self.by_ids(conn, [event_id])).get(event_id)

    async def by_transaction(
        self, conn: Connection, device_nid: int, txn_id: str, room_nid: int
    ) -> StoredEvent | None:
        """The event that this device made with this transaction id in this room."""
        rows = await conn.fetch(
            f"SELECT {COLUMNS} FROM events"  # noqa: S608
            " WHERE txn_device = $1 AND txn_id = $2 AND room_nid = $3",
            device_nid,
            txn_id,
            room_nid,
        )
        return next(iter(await self.read(conn, rows)), None)

    async def read(self, conn: Connection, rows: Sequence[Row]) -> list[StoredEvent]:
        """Events of rows that have COLUMNS, in the order of the rows."""
        rooms = await self.rooms.by_nids(conn, {row["room_nid"] for row in rows})
        known = [row for row in rows if row["room_nid"] in rooms]
        events: list[StoredEvent] = []
        for start in range(0, len(known), _PARSED_AT_ONCE):
            events += [
                self._stored(row, rooms[row["room_nid"]]) for row in known[start : start + _PARSED_AT_ONCE]
            ]
            if len(events) < len(known):
                await asyncio.sleep(0)
        return events

    def remember(self, nid: int, event: Event, size: int) -> None:
        """Keep an event that was just made, so that nobody has to parse it again."""
        self._keep((nid, False), event, size)

    def _stored(self, row: Row, room: Room) -> StoredEvent:
        redacted = row["redacted_by"] is not None
        event = self._event(row, room, redacted=redacted)
        if self.is_over is not None and not redacted and MARK in row["json"] and self.is_over(event):
            event = self._event(row, room, redacted=True)
        links = row["chain_links"]
        return StoredEvent(
            nid=row["event_nid"],
            room=room,
            position=row["position"],
            event=event,
            key_nid=row["key_nid"],
            state_sp=row["state_sp"],
            overlay_nid=row["overlay_nid"],
            line_sp=row["line_sp"],
            on_line=row["on_line"],
            status=row["status"],
            redacted_by=row["redacted_by"],
            txn_device=row["txn_device"],
            txn_id=row["txn_id"],
            chain=row["chain"],
            chain_seq=row["chain_seq"],
            chain_links=() if links is None else tuple(links),
        )

    def _event(self, row: Row, room: Room, *, redacted: bool) -> Event:
        key = (row["event_nid"], redacted)
        cached = self._parsed.get(key)
        if cached is not None:
            self._parsed.move_to_end(key)
            return cached[0]
        event = parse_stored(row["json"], row["event_id"], room, redacted=redacted)
        self._keep(key, event, len(row["json"]))
        return event

    def _keep(self, key: tuple[int, bool], event: Event, size: int) -> None:
        if key in self._parsed:
            return
        self._parsed[key] = (event, size * _OVERHEAD)
        self.cached_bytes += size * _OVERHEAD
        while self.cached_bytes > self.max_bytes:
            _, (_, freed) = self._parsed.popitem(last=False)
            self.cached_bytes -= freed


def parse_stored(json: bytes, event_id: str, room: Room, *, redacted: bool) -> Event:
    """The event of stored bytes, which were checked when they came in."""
    # orjson would turn integers beyond 64 bits, legal until room version 5, into floats.
    strict = room.version.strict_canonical_json
    pdu = orjson.loads(json) if strict else canonical_json.decode_lenient(json)
    if redacted:
        pdu = redact(pdu, room.version)
    share_strings(pdu)
    return event_from_pdu(pdu, event_id, room.version)
