"""Which policy server a room uses now, if it uses one [ss "Determining if a Policy Server is enabled in a room"]."""

from attrs import frozen

from homeserver.core.policy_server import POLICY, PolicyServer, policy_server
from homeserver.services.room_heads import Head, RoomHeads
from homeserver.services.room_servers import RoomServers
from storage.database import Database


@frozen
class RoomPolicies:
    """Read from the room's head, and nothing else in the rooms, nearly all, that have no policy."""

    database: Database
    heads: RoomHeads
    servers: RoomServers

    def has_none(self, head: Head) -> bool:
        """Is it known already that the room uses none? No lock is needed for that."""
        return POLICY in head.state and head.event(POLICY) is None

    async def of(self, head: Head) -> PolicyServer | None:
        """The server that must have signed what enters the room. Hold the head's lock."""
        if self.has_none(head):
            return None
        await self.heads.ensure(head, [POLICY])
        policy = head.event(POLICY)
        if policy is None:
            return None
        async with self.database.read() as conn:
            joined = await self.servers.servers_in(conn, head.room.nid)
        return policy_server(policy, joined)
