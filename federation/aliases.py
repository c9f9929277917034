"""Where room aliases of any server lead [ss "Querying for information"]."""

from attrs import frozen

from federation.client.queries import QueryRequests
from federation.refusals import for_client
from federation.transport.requests import PeerFault
from homeserver.core.errors import invalid_param, not_found
from homeserver.core.ids import domain_of, is_room_alias
from homeserver.services.application_services.introducing import Introduce, nobody_comes
from homeserver.services.directory import Directory
from homeserver.services.room_servers import RoomServers

MAX_SERVERS = 50


@frozen
class Resolved:
    """A room, and servers through which it can be entered."""

    room_id: str
    servers: list[str]


@frozen
class Aliases:
    """Our own ones from the database, others' from their servers."""

    directory: Directory
    servers: RoomServers
    queries: QueryRequests
    introduce: Introduce = nobody_comes

    async def resolve(self, alias: str) -> Resolved:
        """What the alias leads to. Raises M_NOT_FOUND."""
        if not is_room_alias(alias):
            raise invalid_param("Not a room alias")
        if not self.directory.timeline.identity.is_ours(alias):
            return await self._elsewhere(alias)
        await self.introduce(alias)
        found = await self.directory.resolve(alias)
        async with self.directory.timeline.writing.database.read() as conn:
            servers = await self.servers.servers_in(conn, found.room_nid)
        ours = self.directory.timeline.identity.server_name
        others = sorted(servers - {ours})
        return Resolved(found.room_id, [ours, *others][:MAX_SERVERS])

    async def _elsewhere(self, alias: str) -> Resolved:
        server = domain_of(alias)
        try:
            answer = await self.queries.directory(server, alias)
        except PeerFault as fault:
            if getattr(fault, "status", 0) == 404:
                raise not_found("No room has this alias") from fault
            raise for_client(fault) from fault
        return Resolved(answer.room_id, list(dict.fromkeys([server, *answer.servers]))[:MAX_SERVERS])
