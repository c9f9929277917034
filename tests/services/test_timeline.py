"""The writer against a real database: what one step stores, and what concurrent steps make of each other."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from homeserver.core.errors import MatrixError
from homeserver.core.event_build import Draft
from homeserver.core.room_versions import ROOM_VERSIONS, V12, RoomVersion
from homeserver.services.growth import Once
from storage.database import Database
from storage.rooms import Room
from tests.kit.services import ALICE, BOB, Kit, build_kit, founding


@pytest.fixture
async def kit(database: Database) -> AsyncIterator[Kit]:
    kit = build_kit(database)
    yield kit
    await kit.committer.drain()


@pytest.mark.parametrize("version", ROOM_VERSIONS.values(), ids=lambda version: f"v{version.name}")
async def test_a_room_of_every_version_takes_messages(kit: Kit, version: RoomVersion) -> None:
    room, _ = await kit.timeline.create(version, founding(version))
    sent = await kit.timeline.send(message(room, "hello"))
    async with kit.database.read() as conn:
        stored = await kit.reader.by_id(conn, sent.event.event_id)
    assert stored is not None
    assert stored.event.content == {"body": "hello", "msgtype": "m.text"}
    assert stored.position == sent.position
    assert (stored.state_sp, stored.line_sp, stored.on_line) == (5, 5, False)


async def test_a_cold_head_continues_where_the_room_stood(kit: Kit, database: Database) -> None:
    room, events = await kit.timeline.create(V12, founding(V12))
    other = build_kit(database)  # as after a restart
    sent = await other.timeline.send(message(room, "hello"))
    assert sent.event.prev_events == (events[-1].event.event_id,)
    assert sent.event.depth == len(events) + 1


async def test_two_processes_on_one_room_lose_nothing(kit: Kit, database: Database) -> None:
    room, _ = await kit.timeline.create(V12, founding(V12))
    other = build_kit(database)
    senders = [(kit.timeline, other.timeline)[n % 2].send(message(room, str(n))) for n in range(40)]
    sent = await asyncio.gather(*senders)
    async with database.read() as conn:
        bodies = await conn.fetchval("SELECT count(*) FROM events WHERE type = 'm.room.message'")
        heads = await conn.fetchval("SELECT cardinality(extremities) FROM room_heads")
    assert (bodies, heads) == (40, 1)
    assert len({stored.position for stored in sent}) == 40


async def test_concurrent_senders_form_a_chain(kit: Kit) -> None:
    room, _ = await kit.timeline.create(V12, founding(V12))
    sent = await asyncio.gather(*[kit.timeline.send(message(room, str(n))) for n in range(50)])
    by_id = {stored.event.event_id: stored for stored in sent}
    assert sum(stored.event.prev_events[0] in by_id for stored in sent) == 49
    positions = [stored.position or 0 for stored in sorted(sent, key=lambda one: one.event.depth)]
    assert positions == sorted(positions)


async def test_a_repeated_transaction_makes_one_event(kit: Kit, database: Database) -> None:
    room, _ = await kit.timeline.create(V12, founding(V12))
    once = Once(device_nid=7, txn_id="s1")
    first, second = await asyncio.gather(
        *[kit.timeline.send(message(room, "hello"), once=once) for _ in "ab"]
    )
    after_restart = await build_kit(database).timeline.send(message(room, "hello"), once=once)
    assert first.event.event_id == second.event.event_id == after_restart.event.event_id


async def test_who_is_not_in_the_room_is_refused(kit: Kit) -> None:
    room, _ = await kit.timeline.create(V12, founding(V12))
    with pytest.raises(MatrixError, match="M_FORBIDDEN: the sender is not in the room"):
        await kit.timeline.send(message(room, "hello", sender=BOB))
    await kit.timeline.send(message(room, "the room goes on"))


async def test_joins_count_and_are_found(kit: Kit, database: Database) -> None:
    room, _ = await kit.timeline.create(V12, founding(V12))
    await kit.timeline.send(Draft("m.room.member", BOB, {"membership": "join"}, 1, room.room_id, BOB))
    async with database.read() as conn:
        assert await conn.fetchval("SELECT joined FROM room_heads") == 2
        assert await conn.fetchval("SELECT count(*) FROM local_memberships WHERE membership = 1") == 2
        assert await conn.fetchval("SELECT count(*) FROM current_state WHERE membership = 1") == 2


def message(room: Room, body: str, *, sender: str = ALICE) -> Draft:
    return Draft(
        "m.room.message", sender, {"body": body, "msgtype": "m.text"}, 1_700_000_000_000, room.room_id
    )
