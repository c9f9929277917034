"""What a server that has just joined is told of the room: spliced from stored bytes, in pieces."""

from collections.abc import AsyncIterator, Sequence

import orjson
from attrs import frozen

from homeserver.core.errors import not_found
from homeserver.services.room_export import RoomExport
from storage import remote_rooms, room_state, user_news
from storage.database import Connection
from storage.events import StoredEvent
from storage.rooms import Room
from storage.state_keys import StateKeys

NAMES = (("m.room.name", ""), ("m.room.canonical_alias", ""))


@frozen
class _Facts:
    """What the answer is made of, as numbers."""

    event: bytes
    state: Sequence[int]
    chain: Sequence[int]
    servers: Sequence[str]


@frozen
class JoinAnswers:
    """Writes answers to send_join [ss "Joining Rooms"]."""

    export: RoomExport
    state_keys: StateKeys

    async def stream(self, room: Room, event_id: str, *, omit_members: bool) -> AsyncIterator[bytes]:
        """The state before the join, all that it rests on, and the event as everybody gets it."""
        async with self.export.database.read() as conn:
            facts = await self._facts(conn, room, event_id, omit_members=omit_members)
        omitted = b"true" if omit_members else b"false"
        servers = orjson.dumps(facts.servers)
        yield b'{"event":%b,"members_omitted":%b,"servers_in_room":%b' % (facts.event, omitted, servers)
        for name, nids in ((b"auth_chain", facts.chain), (b"state", facts.state)):
            yield b',"%b":' % name
            async for chunk in self.export.chunks(nids):
                yield chunk
        yield b"}"

    async def _facts(self, conn: Connection, room: Room, event_id: str, *, omit_members: bool) -> _Facts:
        stored = await self.export.reader.by_id(conn, event_id)
        if stored is None or stored.state_sp is None:
            raise not_found("Unknown event")
        state = await self.export.state_nids(conn, room, await self.export.before(conn, stored))
        if omit_members:
            state = await self._reduced(conn, room, stored, state)
        chain = await self.export.auth_chain(conn, room, [*state, stored.nid])
        if omit_members:
            chain = sorted(set(chain) - set(state))  # "redundant events are omitted"
        (event,) = await self.export.pdus(conn, [stored.nid])
        return _Facts(event, state, chain, await remote_rooms.joined_servers(conn, room.nid))

    async def _reduced(
        self, conn: Connection, room: Room, join: StoredEvent, state: Sequence[int]
    ) -> list[int]:
        """Without members, but for the heroes of a room that has no other name."""
        kept = await remote_rooms.without_members(conn, state)
        names = await self.state_keys.find(conn, NAMES)
        if await room_state.current(conn, room.nid, names.values()):
            return kept
        user_nid = await self.state_keys.user_nid(join.event.sender)
        heroes = (await user_news.heroes(conn, user_nid, [room.nid])).get(room.nid, [])
        members = await room_state.current(conn, room.nid, heroes)
        return sorted({*kept, *(set(members.values()) & set(state))})
