"""Server-Server API, "Retrieving events": the state of a room before an event, and what authorizes an event."""

from collections.abc import Sequence

from attrs import frozen

from federation.inbound.spliced import listed
from homeserver.core.errors import not_found
from homeserver.services.room_export import CHUNK, RoomExport
from homeserver.services.server_visibility import ServerAccess
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Reply, Result
from storage.database import Connection, Database
from storage.room_batches import REJECTED


@frozen
class StateApi:
    """GET /state, /state_ids and /event_auth"""

    database: Database
    access: ServerAccess
    export: RoomExport

    def endpoints(self) -> list[Endpoint]:
        base = "/_matrix/federation/v1"
        return [
            Endpoint("GET", f"{base}/state/{{roomId}}", self.state, auth=Auth.SERVER),
            Endpoint("GET", f"{base}/state_ids/{{roomId}}", self.state_ids, auth=Auth.SERVER),
            Endpoint("GET", f"{base}/event_auth/{{roomId}}/{{eventId}}", self.event_auth, auth=Auth.SERVER),
        ]

    async def state(self, call: Call) -> Result:
        async with self.database.read(snapshot=True) as conn:
            state, chain = await self._before(conn, call)
        return await self._told([("pdus", state), ("auth_chain", chain)])

    async def state_ids(self, call: Call) -> Result:
        async with self.database.read(snapshot=True) as conn:
            state, chain = await self._before(conn, call)
            return {
                "pdu_ids": await self.export.event_ids(conn, state),
                "auth_chain_ids": await self.export.event_ids(conn, chain),
            }

    async def event_auth(self, call: Call) -> Result:
        async with self.database.read() as conn:
            view = await self.access.view(conn, call.path["roomId"], call.origin)
            stored = await self.access.reader.by_id(conn, call.path["eventId"])
            if stored is None or stored.room.nid != view.room.nid:
                raise not_found("No such event in this room")
            await self.access.require(conn, view, stored)
            chain = await self.export.auth_chain(conn, view.room, [stored.nid])
        return await self._told([("auth_chain", chain)])

    async def _before(self, conn: Connection, call: Call) -> tuple[list[int], list[int]]:
        """The state before the event that is asked for, and its auth chain."""
        event_id = call.query.string("event_id")
        view = await self.access.view(conn, call.path["roomId"], call.origin)
        stored = await self.access.event(conn, view, event_id)
        await self.access.require(conn, view, stored)
        if (
            stored.status == REJECTED
        ):  # as unknown as it is to clients: who follows it has to judge it as we did
            raise not_found("No such event in this room")
        state = await self.export.state_nids(conn, view.room, await self.export.before(conn, stored))
        return state, await self.export.auth_chain(conn, view.room, state)

    async def _told(self, lists: Sequence[tuple[str, Sequence[int]]]) -> Result:
        """At once where it is little, else as a stream."""
        chunks = listed(self.export, lists)
        if sum(len(nids) for _, nids in lists) > CHUNK:
            return Reply(200, chunks)
        return b"".join([chunk async for chunk in chunks])
