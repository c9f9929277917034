"""Server-Server API, "Backfilling and retrieving missing events"."""

from collections.abc import Sequence

from attrs import frozen

from federation.inbound.spliced import transaction
from homeserver.services.now import Clock, now_ms
from homeserver.services.room_export import RoomExport
from homeserver.services.server_visibility import ServerAccess, ServerView
from homeserver.web import fields
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from storage import event_graph
from storage.database import Connection, Database
from storage.events import StoredEvent

MAX_BACKFILL = 100
MAX_MISSING, DEFAULT_MISSING = 20, 10
MAX_NAMED = 100  # events that a request may name; more are not looked at


@frozen
class BackfillApi:
    """GET /backfill and POST /get_missing_events"""

    database: Database
    access: ServerAccess
    export: RoomExport
    server_name: str
    clock: Clock = now_ms

    def endpoints(self) -> list[Endpoint]:
        base = "/_matrix/federation/v1"
        missing = f"{base}/get_missing_events/{{roomId}}"
        return [
            Endpoint("GET", f"{base}/backfill/{{roomId}}", self.backfill, auth=Auth.SERVER),
            Endpoint("POST", missing, self.missing_events, auth=Auth.SERVER),
        ]

    async def backfill(self, call: Call) -> Result:
        """The events named and what is in front of them, deepest first."""
        limit = min(call.query.integer("limit", least=1), MAX_BACKFILL)
        named = call.query.strings("v")[:MAX_NAMED] or [call.query.string("v")]
        async with self.database.read() as conn:
            view = await self.access.view(conn, call.path["roomId"], call.origin)
            found = await event_graph.numbers_of(conn, view.room.nid, named)
            starts = list(found.values())[:limit]
            before = await event_graph.breadth_first(conn, view.room.nid, starts, limit - len(starts))
            pdus = await self._told(conn, view, await self._read(conn, [*starts, *before]))
        return transaction(self.server_name, self.clock(), pdus[::-1])

    async def missing_events(self, call: Call) -> Result:
        """What is in front of the latest events, as far as the earliest ones, shallowest first."""
        limit = min(call.optional("limit", int, DEFAULT_MISSING), MAX_MISSING)
        min_depth = call.optional("min_depth", int, 0)
        earliest = fields.strings(call.body, "earliest_events")[:MAX_NAMED]
        latest = fields.strings(call.body, "latest_events")[:MAX_NAMED]
        async with self.database.read() as conn:
            view = await self.access.view(conn, call.path["roomId"], call.origin)
            named = await event_graph.numbers_of(conn, view.room.nid, {*earliest, *latest})
            known = [named[event_id] for event_id in earliest if event_id in named]
            starts = [named[event_id] for event_id in latest if event_id in named]
            nids = await event_graph.breadth_first(conn, view.room.nid, starts, max(limit, 0), known=known)
            events = [one for one in await self._read(conn, nids) if one.event.depth >= min_depth]
            pdus = await self._told(conn, view, events)
        return b'{"events":[%b]}' % b",".join(pdus)

    async def _read(self, conn: Connection, nids: Sequence[int]) -> list[StoredEvent]:
        """The events that have a place in the room's graph."""
        found = await self.access.reader.by_nids(conn, nids)
        return [stored for stored in found.values() if stored.state_sp is not None]

    async def _told(self, conn: Connection, view: ServerView, events: Sequence[StoredEvent]) -> list[bytes]:
        """The events by depth; what the server may not see in redacted form: its graph needs it all the same."""
        visible = await self.access.shown(conn, view, events)
        nids = [one.nid for one in sorted(events, key=lambda one: (one.event.depth, one.nid))]
        return await self.export.pdus(conn, nids, hidden=set(nids) - visible)
