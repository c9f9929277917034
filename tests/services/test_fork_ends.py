"""Rooms with many open ends, which anybody in them can make: we join them, and tell nobody."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from homeserver.core.canonical_json import encode_lenient
from homeserver.core.event import Event
from homeserver.core.room_versions import V12
from homeserver.services.arrivals import Arrivals
from homeserver.services.fork_ends import MANY, ForkEnds
from homeserver.services.judging import Arrival
from homeserver.services.room_heads import Head
from homeserver.services.room_states import RoomStates
from storage import outbound_events
from storage.database import Database
from storage.outbound_events import SAYS_NOTHING, Span
from tests.kit.room_builder import ALICE, RoomBuilder
from tests.kit.services import SERVER, Kit, build_kit

ME = f"@me:{SERVER}"
FORKS = 35


@pytest.fixture
async def kit(database: Database) -> AsyncIterator[Kit]:
    kit = build_kit(database)
    yield kit
    await kit.committer.drain()


async def take(kit: Kit, event: Event) -> None:
    arrivals = Arrivals(kit.timeline, RoomStates(kit.reader, kit.state_keys))
    arrival = Arrival(event, encode_lenient(event.pdu))
    if event.type == "m.room.create":
        await arrivals.begin(arrival)
    else:
        await arrivals.receive(arrival)


async def forked(kit: Kit, needed: int) -> Head:
    """A room of somebody else with many ends of different states; messages need that level."""
    room = RoomBuilder(V12)
    room.create()
    room.member(ALICE, ALICE, "join")
    room.power_levels(ALICE, {}, events_default=needed)
    room.join_rules(ALICE, "public")
    room.join(ME)
    for number in range(FORKS):
        room.fork().join(f"@user{number}:elsewhere.example")
    for event in room.events.values():
        await take(kit, event)
    return await kit.timeline.head(room.room_id)


async def test_the_ends_are_joined_by_us_and_sent_to_nobody(kit: Kit) -> None:
    ends = ForkEnds(kit.timeline)
    kit.followers.append(ends)
    head = await forked(kit, needed=0)
    assert len(head.extremities) == FORKS
    assert ends.waiting == 1
    await ends.join(head.room.nid)
    assert len(head.extremities) < MANY
    assert {key[1] for key in await joined(kit, head)} >= {
        f"@user{number}:elsewhere.example" for number in range(FORKS)
    }
    async with kit.database.read() as conn:
        made = await conn.fetchval("SELECT count(*) FROM events WHERE type = $1", SAYS_NOTHING)
        span = Span(0, kit.notifier.position)
        sent = await outbound_events.to_send(conn, SERVER, [(head.room.nid, 0)], span, 100)
        read = await conn.fetchval("SELECT count(*) FROM notifications")
    assert read == 0  # in whose name it is said has not read anything
    assert made == 3  # each joins ten, and is one itself
    assert [one.member_server for one in sent] == [SERVER]  # our join


async def joined(kit: Kit, head: Head) -> list[tuple[str, str]]:
    async with kit.database.read() as conn:
        rows = await conn.fetch(
            "SELECT type, state_key FROM current_state JOIN state_keys USING (key_nid)"
            " WHERE room_nid = $1 AND membership = 1",
            head.room.nid,
        )
    return [(row[0], row[1]) for row in rows]


async def test_where_none_of_ours_may_speak_the_ends_stay(kit: Kit) -> None:
    head = await forked(kit, needed=50)
    await ForkEnds(kit.timeline).join(head.room.nid)
    assert len(head.extremities) == FORKS


async def test_faults_end_nothing(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    head = await forked(kit, needed=0)
    ends = ForkEnds(kit.timeline)
    kit.followers.append(ends)
    monkeypatch.setattr("homeserver.services.fork_ends.PAUSE", 0)
    asked = asyncio.Semaphore(0)

    async def send(*_: object) -> None:
        asked.release()
        raise TimeoutError

    monkeypatch.setattr(type(kit.timeline), "send", send)
    running = asyncio.create_task(ends.run())
    for _ in range(2):
        ends.notice(head.room.nid)
        await asyncio.wait_for(asked.acquire(), 10)
    running.cancel()
