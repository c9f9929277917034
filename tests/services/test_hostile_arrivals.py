"""Events of servers that lie, and those whose first trace here is not the room's own word."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from homeserver.core.canonical_json import encode_lenient
from homeserver.core.event import Event, event_from_pdu
from homeserver.core.hashing import event_id_of
from homeserver.core.receipt_checks import Accepted, SoftFailed, check_hash
from homeserver.core.room_versions import ROOM_VERSIONS, V1, V11, V12, RoomVersion
from homeserver.services.adoption import Adoption
from homeserver.services.arrivals import Arrivals
from homeserver.services.judging import Arrival
from homeserver.services.remote_rooms import RemoteRooms
from homeserver.services.room_states import RoomStates
from storage.database import Database, PoolSizes
from storage.events import EventReader, StoredEvent
from tests.kit.room_builder import ALICE, BOB, CHARLIE, RoomBuilder
from tests.kit.services import Kit, build_kit
from tests.services.test_adoption import arrival, lively_room, told
from tests.services.test_delivery_orders import current_state

OURS = "@bob:example.org"


@pytest.fixture
async def kit(database: Database) -> AsyncIterator[Kit]:
    kit = build_kit(database)
    yield kit
    await kit.committer.drain()


def arrivals_of(kit: Kit) -> Arrivals:
    return Arrivals(kit.timeline, RoomStates(kit.reader, kit.state_keys))


def spoiled(event: Event) -> Arrival:
    """The event as it passes check 3 once somebody has changed its content: redacted, under the same id."""
    pdu = {**event.pdu, "content": {**event.content, "topic": "spoiled"}}
    assert event_id_of(pdu, event.version) == event.event_id
    redacted = check_hash(event_from_pdu(pdu, event.event_id, event.version))
    return Arrival(redacted, encode_lenient(redacted.pdu))


@pytest.mark.parametrize("version", [V11, V12], ids=lambda version: f"v{version.name}")
async def test_a_spoiled_copy_takes_nothing_from_a_state_that_was_told(
    kit: Kit, version: RoomVersion
) -> None:
    room = lively_room(version)
    topic = room.topic(ALICE, "keep me")
    state = list(room.state.values())
    join = room.join(BOB)
    await Adoption(kit.timeline, arrivals_of(kit)).adopt(version, told(room, join, state))
    before = set(room.record.state_before[topic.event_id].values())
    await arrivals_of(kit).keep(room.room_id, [arrival(room.events[event_id]) for event_id in before])
    assert await arrivals_of(kit).place(spoiled(topic), before) == Accepted()
    fresh = build_kit(kit.database)
    async with fresh.database.read() as conn:
        stored = await fresh.reader.by_id(conn, topic.event_id)
    assert stored is not None
    assert stored.event.content == {"topic": "keep me"}


@pytest.mark.parametrize("version", ROOM_VERSIONS.values(), ids=lambda version: f"v{version.name}")
async def test_an_invite_that_came_before_the_room_has_its_place_among_the_auth_events(
    kit: Kit, version: RoomVersion
) -> None:
    room = RoomBuilder(version).public(ALICE, {CHARLIE: 50})
    room.join(CHARLIE)
    room.join_rules(ALICE, "invite")
    invite = room.invite(CHARLIE, OURS)
    assert await RemoteRooms(kit.timeline.writing).invited(arrival(invite), [])
    state = list(room.state.values())
    join = room.join(OURS)
    await Adoption(kit.timeline, arrivals_of(kit)).adopt(version, told(room, join, state))
    async with kit.database.read() as conn:
        assert (await kit.reader.by_id(conn, invite.event_id)).chain is not None
    left, right = room.fork(), room.fork()
    left.member(OURS, OURS, "join", displayname="Bob")
    left.power_levels(ALICE, {ALICE: 100, CHARLIE: 60} if not version.privileged_creators else {CHARLIE: 60})
    right.member(ALICE, OURS, "leave")
    right.topic(CHARLIE, "autumn")
    room.merge(left, right).message(ALICE)
    fresh = build_kit(kit.database)
    events = [arrival(event) for event in list(room.events.values())[-5:]]
    verdicts = await arrivals_of(fresh).receive_all(room.room_id, events)
    assert set(verdicts.values()) == {Accepted()}
    assert await current_state(kit) == {key: event.event_id for key, event in room.state.items()}
    await fresh.committer.drain()


async def test_an_id_taken_in_another_room_brings_in_nothing_from_there(kit: Kit) -> None:
    """Until room version 2 senders choose the ids."""
    other = RoomBuilder(V1, room_id="!other:a.example")
    other.public(ALICE)
    theirs = other.topic(ALICE, "theirs")
    events = list(other.events.values())
    await arrivals_of(kit).begin(arrival(events[0]))
    await arrivals_of(kit).receive_all(other.room_id, [arrival(event) for event in events[1:]])

    room = RoomBuilder(V1)
    room.public(ALICE)
    draft = room.draft(ALICE, "m.room.topic", {"topic": "ours"}, state_key="")
    room.append(event_from_pdu({**draft.pdu, "event_id": theirs.event_id}, theirs.event_id, V1))
    state = list(room.state.values())
    join = room.join(BOB)
    await Adoption(kit.timeline, arrivals_of(kit)).adopt(V1, told(room, join, state))
    async with kit.database.read() as conn:
        rooms = await conn.fetch(
            "SELECT e.room_nid = c.room_nid FROM current_state c JOIN events e USING (event_nid)"
        )
    assert all(row[0] for row in rooms)


async def test_many_rooms_at_once_do_not_wait_for_each_others_connections(database: Database) -> None:
    """A step holds a connection while it asks for another one."""
    rooms = [RoomBuilder(V11, room_id=f"!room{number}:a.example").public(ALICE) for number in range(8)]
    kit = build_kit(database)
    for room in rooms:
        create, *others = room.events.values()
        await arrivals_of(kit).begin(arrival(create))
        await arrivals_of(kit).receive_all(room.room_id, [arrival(event) for event in others])
    await kit.committer.drain()
    few = Database(database.url, PoolSizes(writers=2, readers=2, acquire_timeout=3.0))
    await few.connect()
    cold = build_kit(few)
    steps = [arrivals_of(cold).receive(arrival(room.join(BOB))) for room in rooms]
    assert await asyncio.gather(*steps) == [Accepted()] * len(rooms)
    await cold.committer.drain()
    await few.close()


async def test_a_head_remembers_the_hashes_of_its_extremities_only(kit: Kit) -> None:
    """Until room version 2 links carry hashes."""
    room = RoomBuilder(V1).public(ALICE)
    create, *others = room.events.values()
    head = await arrivals_of(kit).begin(arrival(create))
    others += [room.message(ALICE) for _ in range(5)]
    await arrivals_of(kit).receive_all(room.room_id, [arrival(event) for event in others])
    assert set(head.hashes) == {room.last.event_id}


@pytest.mark.parametrize("version", [V1, V11, V12], ids=lambda version: f"v{version.name}")
async def test_who_comes_on_a_fork_is_heard_in_the_same_step(kit: Kit, version: RoomVersion) -> None:
    room = RoomBuilder(version).public(ALICE)
    create, *others = room.events.values()
    await arrivals_of(kit).begin(arrival(create))
    left, right = room.fork(), room.fork()
    others += [left.message(ALICE), left.message(ALICE)]
    await arrivals_of(kit).receive_all(room.room_id, [arrival(event) for event in others])
    step = [right.join(BOB), right.message(BOB)]
    verdicts = await arrivals_of(kit).receive_all(room.room_id, [arrival(event) for event in step])
    assert set(verdicts.values()) == {Accepted()}


@pytest.mark.parametrize("version", [V1, V11, V12], ids=lambda version: f"v{version.name}")
async def test_who_is_banned_on_a_fork_is_not_heard_in_the_same_step(kit: Kit, version: RoomVersion) -> None:
    room = RoomBuilder(version).public(ALICE)
    room.join(BOB)
    create, *others = room.events.values()
    await arrivals_of(kit).begin(arrival(create))
    await arrivals_of(kit).receive_all(room.room_id, [arrival(event) for event in others])
    evasion, other = room.fork(), room.fork()
    step = [other.message(ALICE), room.ban(ALICE, BOB), evasion.message(BOB)]
    verdicts = await arrivals_of(kit).receive_all(room.room_id, [arrival(event) for event in step])
    assert [type(verdicts[event.event_id]) for event in step] == [Accepted, Accepted, SoftFailed]


async def test_a_long_chain_of_refused_events_is_not_walked_for_each_event_behind_it(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = RoomBuilder(V11).public(ALICE)
    await arrivals_of(kit).begin(arrival(next(iter(room.events.values()))))
    branch = room.fork()
    room.message(ALICE)
    for _ in range(60):
        branch.append(branch.draft(BOB, "m.room.message", {"body": "let me in"}), rejected=True)
    await arrivals_of(kit).receive_all(room.room_id, [arrival(event) for event in room.events.values()])
    looks, by_ids = [], EventReader.by_ids

    async def counted(*args: Any) -> dict[str, StoredEvent]:
        looks.append(args)
        return await by_ids(*args)

    monkeypatch.setattr(EventReader, "by_ids", counted)
    assert await arrivals_of(kit).receive(arrival(branch.message(ALICE))) == Accepted()
    assert len(looks) < 30
