"""Server-Server API, "Retrieving events": one event, and the event of a time."""

from attrs import frozen

from federation.inbound.spliced import transaction
from homeserver.core.errors import not_found
from homeserver.services.now import Clock, now_ms
from homeserver.services.room_export import RoomExport
from homeserver.services.server_visibility import ServerAccess
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from storage import pages
from storage.database import Connection, Database
from storage.events import StoredEvent
from storage.room_batches import OUTLIER

CANDIDATES = 50  # events near a time, of which the first visible one is wanted


@frozen
class EventsApi:
    """GET /event and /timestamp_to_event"""

    database: Database
    access: ServerAccess
    export: RoomExport
    server_name: str
    clock: Clock = now_ms

    def endpoints(self) -> list[Endpoint]:
        base = "/_matrix/federation/v1"
        return [
            Endpoint("GET", f"{base}/event/{{eventId}}", self.event, auth=Auth.SERVER),
            Endpoint("GET", f"{base}/timestamp_to_event/{{roomId}}", self.by_time, auth=Auth.SERVER),
        ]

    async def event(self, call: Call) -> Result:
        """What the server may not see is told in redacted form: its graph needs it all the same."""
        async with self.database.read() as conn:
            stored = await self._known(conn, call.path["eventId"])
            view = await self.access.view(conn, stored.room.room_id, call.origin)
            hidden = {stored.nid} - await self.access.shown(conn, view, [stored])
            pdus = await self.export.pdus(conn, [stored.nid], hidden=hidden)
        return transaction(self.server_name, self.clock(), pdus)

    async def by_time(self, call: Call) -> Result:
        ts = call.query.integer("ts", least=0)
        forwards = call.query.choice("dir", ("f", "b")) == "f"
        async with self.database.read() as conn:
            view = await self.access.view(conn, call.path["roomId"], call.origin)
            near = await pages.around_time(
                conn, self.access.reader, view.room.nid, ts, forwards=forwards, limit=CANDIDATES
            )
            visible = await self.access.visible(conn, view, near)
        for stored in near:
            if stored.nid in visible:
                event = stored.event
                return {"event_id": event.event_id, "origin_server_ts": event.origin_server_ts}
        raise not_found("There is no event of that time")

    async def _known(self, conn: Connection, event_id: str) -> StoredEvent:
        """Outliers of the state too, unless they were rejected."""
        stored = await self.access.reader.by_id(conn, event_id)
        if stored is None or (stored.state_sp is None and stored.status != OUTLIER):
            raise not_found("No such event")
        return stored
