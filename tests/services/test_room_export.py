"""Long lists of events leave in pieces, and whole."""

from collections.abc import AsyncIterator

import orjson
import pytest

from homeserver.core.canonical_json import encode_lenient
from homeserver.core.redaction import redact
from homeserver.core.room_versions import V11, V12
from homeserver.services.arrivals import Arrivals
from homeserver.services.judging import Arrival
from homeserver.services.room_export import CHUNK, RoomExport
from homeserver.services.room_states import RoomStates
from storage import event_graph
from storage.database import Database
from storage.room_state import StatePoint
from storage.rooms import Room
from tests.kit.room_builder import ALICE, RoomBuilder
from tests.kit.services import Kit, build_kit

MEMBERS = CHUNK + 10


@pytest.fixture
async def kit(database: Database) -> AsyncIterator[Kit]:
    kit = build_kit(database)
    yield kit
    await kit.committer.drain()


async def given(kit: Kit, room: RoomBuilder) -> Room:
    arrivals = Arrivals(kit.timeline, RoomStates(kit.reader, kit.state_keys))
    create, *others = [Arrival(event, encode_lenient(event.pdu)) for event in room.events.values()]
    await arrivals.begin(create)
    await arrivals.receive_all(room.room_id, others)
    return (await kit.timeline.head(room.room_id)).room


async def test_a_large_state_leaves_in_chunks(kit: Kit) -> None:
    room = RoomBuilder(V12)
    room.public(ALICE)
    for number in range(MEMBERS):
        room.join(f"@user{number}:b.example")
    stored = await given(kit, room)
    export = RoomExport(kit.database, kit.reader)
    async with kit.database.read() as conn:
        state = await export.state_nids(conn, stored, StatePoint(len(room.state)))
        ids = await export.event_ids(conn, state)
        chain = await export.event_ids(conn, await export.auth_chain(conn, stored, state))
    assert sorted(ids) == sorted(room.state_ids.values())
    assert set(chain) == {ids[0], *(parent for i in ids for parent in room.events[i].auth_events)}
    chunks = [chunk async for chunk in export.chunks(state)]
    assert len(chunks) == 3  # two of events, and the end
    assert orjson.loads(b"".join(chunks)) == [room.events[i].pdu for i in ids]


async def test_an_empty_list(kit: Kit) -> None:
    assert b"".join([c async for c in RoomExport(kit.database, kit.reader).chunks([])]) == b"[]"


async def test_events_come_in_the_order_they_were_asked_for(kit: Kit) -> None:
    room = RoomBuilder(V11)
    room.public(ALICE)
    stored = await given(kit, room)
    export = RoomExport(kit.database, kit.reader)
    wanted = list(room.events)[::-1]
    async with kit.database.read() as conn:
        numbers = await event_graph.numbers_of(conn, stored.nid, wanted)
        nids = [numbers[event_id] for event_id in wanted]
        told = await export.pdus(conn, [*nids, 10**12], hidden={nids[0]})
    events = [room.events[event_id] for event_id in wanted]
    shown = [redact(events[0].pdu, V11), *(event.pdu for event in events[1:])]
    assert told == [encode_lenient(pdu) for pdu in shown]
