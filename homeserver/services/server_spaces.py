"""Spaces as other servers may know them: what some user of theirs could see or enter [ss "Spaces"]."""

from collections.abc import Collection
from typing import Any

from attrs import frozen

from homeserver.core.errors import not_found
from homeserver.core.room_summary import RoomSummary
from homeserver.services.room_servers import RoomServers
from homeserver.services.spaces import MAX_ROOMS, Spaces
from storage.database import Connection
from storage.rooms import Room


@frozen
class ServerSpaces:
    """Answers servers that walk a space."""

    spaces: Spaces
    servers: RoomServers

    async def hierarchy(self, room_id: str, server: str, *, suggested_only: bool) -> dict[str, Any]:
        """The room with its children's links, the children's summaries. Raises M_NOT_FOUND."""
        summaries = self.spaces.summaries
        async with summaries.database.read() as conn:
            rooms = await summaries.reader.rooms.by_ids(conn, [room_id])
            found = await summaries.of(conn, rooms)
            if not await self._open_to(conn, found, server):
                raise not_found("No such room")
            links = (await self.spaces.children(conn, rooms, suggested_only=suggested_only)).get(room_id, [])
            below = await summaries.reader.rooms.by_ids(
                conn, [link["state_key"] for link in links][:MAX_ROOMS]
            )
            children = await summaries.of(conn, below)
            open_to = await self._open_to(conn, children, server)
        return {
            "room": {**found[rooms[0].nid].full_form(), "children_state": links},
            "children": [children[nid].full_form() for nid in open_to],
            "inaccessible_children": [one.room_id for nid, one in children.items() if nid not in open_to],
        }

    async def _open_to(
        self, conn: Connection, summaries: dict[int, RoomSummary], server: str
    ) -> Collection[int]:
        """Those of the rooms that the server has a member in, or could get one into."""
        allowed = {room_id for summary in summaries.values() for room_id in summary.allowed_rooms}
        rooms: list[Room] = await self.spaces.summaries.reader.rooms.by_ids(conn, allowed) if allowed else []
        servers = await self.servers.current(conn, [*summaries, *(room.nid for room in rooms)])
        joined = {room.room_id for room in rooms if server in servers.get(room.nid, ())}
        return [
            nid
            for nid, summary in summaries.items()
            if summary.is_open_to("join" if server in servers.get(nid, ()) else None, joined)
        ]
