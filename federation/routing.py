"""Whom an event is for: the servers that are in the room when it happens.

Server ACLs make no difference here: denied servers get events as long as they are in the room
[cs "Server Access Control Lists (ACLs) for rooms"].
"""

from collections.abc import Sequence

from attrs import evolve, frozen

from homeserver.core import canonical_json
from homeserver.core.ids import is_server_name
from homeserver.core.redaction import redact
from homeserver.services.room_servers import RoomServers
from storage import room_servers as rows
from storage.database import Connection
from storage.outbound_events import OutboundEvent
from storage.rooms import RoomRegistry

_AWAITING = ("invite", "knock")
_TURNED_AWAY = ("leave", "ban")


@frozen
class Routes:
    """Finds destinations."""

    our_name: str
    room_servers: RoomServers
    rooms: RoomRegistry

    async def of(self, conn: Connection, events: Sequence[OutboundEvent]) -> list[frozenset[str]]:
        """The other servers that each event is for; whoever is removed by it still gets it."""
        residents = await self.room_servers.at(conn, {(one.room_nid, one.state_sp) for one in events})
        nobody: frozenset[str] = frozenset()
        routed = [residents.get((one.room_nid, one.state_sp), nobody) for one in events]
        turned_away = await self._turned_away(conn, events, routed)
        return [
            (servers | turned_away.get(one.event_nid, nobody)) - {self.our_name, self._has_it(one)}
            for one, servers in zip(events, routed, strict=True)
        ]

    def _has_it(self, one: OutboundEvent) -> str:
        """The server that relayed events came from; an invite of another server's user was made here.

        [cs "Third-party invites"]
        """
        relayed = one.origin != self.our_name and one.member_nid is not None
        return self.our_name if relayed and rows.membership(one.json) == "invite" else one.origin

    async def _turned_away(
        self, conn: Connection, events: Sequence[OutboundEvent], routed: Sequence[frozenset[str]]
    ) -> dict[int, frozenset[str]]:
        """Servers that are not in the room, but one of whose users was invited or had knocked until this event."""
        asked = {
            one.event_nid: ((one.room_nid, one.member_nid, one.state_sp), one.member_server)
            for one, servers in zip(events, routed, strict=True)
            if one.member_nid is not None
            and one.member_server is not None
            and one.member_server not in servers
            and is_server_name(one.member_server)
            and rows.membership(one.json) in _TURNED_AWAY
        }
        if not asked:
            return {}
        before = await rows.memberships_at(conn, [point for point, _ in asked.values()])
        return {
            event_nid: frozenset({server})
            for event_nid, (point, server) in asked.items()
            if before.get(point) in _AWAITING
        }

    async def shown(self, conn: Connection, events: Sequence[OutboundEvent]) -> list[OutboundEvent]:
        """The events as they may be sent now: what was redacted meanwhile leaves without its content."""
        if not any(one.redacted for one in events):
            return list(events)
        rooms = await self.rooms.by_nids(conn, {one.room_nid for one in events if one.redacted})
        shown = []
        for one in events:
            if one.redacted:
                pdu = redact(canonical_json.decode_lenient(one.json), rooms[one.room_nid].version)
                one = evolve(one, json=canonical_json.encode_lenient(pdu))
            shown.append(one)
        return shown
