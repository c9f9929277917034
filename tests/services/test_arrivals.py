"""Other servers' events: forks, rejections and soft failures against a real database."""

from collections.abc import AsyncIterator

import pytest
from attrs import evolve, frozen

from homeserver.core.canonical_json import encode_lenient
from homeserver.core.event import Event
from homeserver.core.receipt_checks import Accepted, Dropped, Rejected, SoftFailed
from homeserver.core.room_versions import ROOM_VERSIONS, V1, V11, V12, RoomVersion
from homeserver.services.arrivals import Arrivals
from homeserver.services.judging import Arrival, Waiting
from homeserver.services.room_states import RoomStates
from storage import room_state
from storage.database import Database
from tests.kit.room_builder import ALICE, BOB, CHARLIE, RoomBuilder
from tests.kit.services import Kit, build_kit


@frozen
class Inbox:
    """A server that gets a room's events."""

    kit: Kit
    arrivals: Arrivals

    async def take(self, event: Event) -> object:
        arrival = Arrival(event, encode_lenient(event.pdu))
        if event.type == "m.room.create":
            await self.arrivals.begin(arrival)
            return Accepted()
        return await self.arrivals.receive(arrival)

    async def take_all(self, room: RoomBuilder) -> list[object]:
        return [await self.take(event) for event in room.events.values()]

    async def state_before(self, event: Event) -> dict[tuple[str, str], str]:
        async with self.kit.database.read() as conn:
            stored = await self.kit.reader.by_id(conn, event.event_id)
            assert stored is not None
            assert stored.state_sp is not None
            point = room_state.StatePoint(stored.state_sp)
            if stored.overlay_nid is not None:
                point = (await room_state.load_overlays(conn, [stored.overlay_nid]))[stored.overlay_nid]
            return await self._named(await room_state.whole(conn, stored.room.nid, point))

    async def current_state(self, room: RoomBuilder) -> dict[tuple[str, str], str]:
        async with self.kit.database.read() as conn:
            found = await self.kit.reader.rooms.find(conn, room.room_id)
            assert found is not None
            rows = await conn.fetch(
                "SELECT key_nid, event_nid FROM current_state WHERE room_nid = $1", found.nid
            )
            return await self._named({row[0]: row[1] for row in rows})

    async def _named(self, state: dict[int, int]) -> dict[tuple[str, str], str]:
        async with self.kit.database.read() as conn:
            events = await self.kit.reader.by_nids(conn, state.values())
        return {event.event.key: event.event.event_id for event in events.values()}


@pytest.fixture
async def inbox(database: Database) -> AsyncIterator[Inbox]:
    kit = build_kit(database)
    yield Inbox(kit, Arrivals(kit.timeline, RoomStates(kit.reader, kit.state_keys)))
    await kit.committer.drain()


@pytest.mark.parametrize("version", ROOM_VERSIONS.values(), ids=lambda version: f"v{version.name}")
async def test_forks_grow_together(inbox: Inbox, version: RoomVersion) -> None:
    room = RoomBuilder(version)
    room.public(ALICE, {BOB: 50})
    room.join(BOB)
    left, right = room.fork(), room.fork()
    left.topic(ALICE, "spring")
    left.join(CHARLIE)
    right.topic(BOB, "autumn")
    right.member(BOB, CHARLIE, "ban")
    room.merge(left, right).message(ALICE)
    room.topic(ALICE, "winter")
    assert await inbox.take_all(room) == [Accepted()] * len(room.events)
    for event in room.events.values():
        assert await inbox.state_before(event) == room.record.state_before[event.event_id], event
    assert await inbox.current_state(room) == room.state_ids


async def test_the_current_state_is_that_of_all_extremities(inbox: Inbox) -> None:
    room = RoomBuilder(V11)
    room.public(ALICE, {BOB: 80})
    room.join(BOB)
    left, right = room.fork(), room.fork()
    left.power_levels(ALICE, {ALICE: 100, BOB: 50})
    right.topic(BOB, "mine")
    assert await inbox.take_all(room) == [Accepted()] * len(room.events)
    assert await inbox.current_state(room) == room.fork().merge(left, right).state_ids
    sent = await inbox.kit.timeline.send(message_of(room, "@alice:a.example"))
    assert set(sent.event.prev_events) == {left.last.event_id, right.last.event_id}


async def test_what_the_rules_refuse_is_kept_and_changes_nothing(inbox: Inbox) -> None:
    room = RoomBuilder(V12)
    room.public(ALICE)
    room.join(BOB)
    await inbox.take_all(room)
    before = await inbox.current_state(room)
    refused = room.fork().topic(BOB, "mine now")
    assert isinstance(await inbox.take(refused), Rejected)
    assert await inbox.current_state(room) == before
    assert isinstance(await inbox.take(refused), Rejected)


async def test_what_is_not_allowed_any_more_is_soft_failed(inbox: Inbox) -> None:
    room = RoomBuilder(V12)
    room.public(ALICE)
    room.join(BOB)
    fork = room.fork()
    room.member(ALICE, BOB, "ban")
    await inbox.take_all(room)
    assert isinstance(await inbox.take(fork.message(BOB)), SoftFailed)
    sent = await inbox.kit.timeline.send(message_of(room, ALICE))
    assert sent.event.prev_events == (room.last.event_id,)


async def test_an_event_behind_a_soft_failed_one_follows_what_that_followed(inbox: Inbox) -> None:
    room = RoomBuilder(V12)
    room.public(ALICE)
    room.join(BOB)
    fork = room.fork()
    await inbox.take_all(room)
    room.member(ALICE, BOB, "ban")
    await inbox.take(room.last)
    assert isinstance(await inbox.take(fork.message(BOB)), SoftFailed)
    fork.merge(room, fork)
    last = fork.message(ALICE)
    assert await inbox.take(last) == Accepted()
    sent = await inbox.kit.timeline.send(message_of(room, ALICE))
    assert sent.event.prev_events == (last.event_id,)


async def test_an_event_without_its_parents_waits(inbox: Inbox) -> None:
    room = RoomBuilder(V12)
    room.public(ALICE)
    await inbox.take_all(room)
    parent = room.message(ALICE)
    child = room.message(ALICE)
    verdict = await inbox.take(child)
    assert isinstance(verdict, Waiting)
    assert verdict.prev_events == {parent.event_id}
    assert await inbox.take(parent) == await inbox.take(child) == Accepted()


async def test_a_known_event_is_not_taken_twice(inbox: Inbox) -> None:
    room = RoomBuilder(V1)
    room.public(ALICE)
    await inbox.take_all(room)
    event = room.message(ALICE)
    await inbox.take(event)
    assert await inbox.take(event) == Accepted()
    async with inbox.kit.database.read() as conn:
        assert await conn.fetchval("SELECT count(*) FROM events WHERE type = 'm.room.message'") == 1


def message_of(room: RoomBuilder, sender: str):
    from homeserver.core.event_build import Draft

    return Draft(
        "m.room.message", sender, {"body": "x", "msgtype": "m.text"}, 1_800_000_000_000, room.room_id
    )


async def test_a_batch_costs_one_commit(inbox: Inbox) -> None:
    room = RoomBuilder(V11)
    room.public(ALICE)
    room.join(BOB)
    events = [*room.events.values()]
    await inbox.take(events[0])
    for number in range(40):
        room.topic(ALICE, str(number))
        room.message(BOB)
    arrivals = [Arrival(event, encode_lenient(event.pdu)) for event in room.events.values()]
    before = inbox.kit.committer.statistics.turns
    verdicts = await inbox.arrivals.receive_all(room.room_id, arrivals)
    assert set(verdicts.values()) == {Accepted()}
    assert inbox.kit.committer.statistics.turns == before + 1
    assert await inbox.current_state(room) == {key: event.event_id for key, event in room.state.items()}


@pytest.mark.parametrize("version", [V1, V11, V12], ids=lambda version: f"v{version.name}")
async def test_a_gap_is_bridged_by_a_state_that_was_told(inbox: Inbox, version: RoomVersion) -> None:
    """Outliers become part of the state, and part of the timeline when they arrive after all."""
    room = RoomBuilder(version)
    room.public(ALICE)
    await inbox.take_all(room)
    known = {event.event_id for event in room.events.values()}
    joined = room.join(BOB)
    lost = [joined, room.topic(ALICE, "lost"), room.message(ALICE)]
    told = {event.event_id for event in room.state.values()}
    edge = room.message(BOB)
    after = room.topic(ALICE, "after")

    waiting = await inbox.take(edge)
    assert isinstance(waiting, Waiting)
    assert waiting.prev_events == {lost[-1].event_id}
    edge_arrival = Arrival(edge, encode_lenient(edge.pdu))
    unknown = await inbox.arrivals.place(edge_arrival, told)
    assert isinstance(unknown, Waiting)
    assert unknown.auth_events == told - known

    outliers = [Arrival(event, encode_lenient(event.pdu)) for event in lost if event.is_state]
    kept = await inbox.arrivals.keep(room.room_id, outliers)
    assert set(kept.values()) == {Accepted()}
    assert await inbox.arrivals.place(edge_arrival, told) == Accepted()
    assert await inbox.take(after) == Accepted()
    assert await inbox.current_state(room) == {key: event.event_id for key, event in room.state.items()}
    async with inbox.kit.database.read() as conn:
        missing = await conn.fetch("SELECT event_id FROM missing_events")
    assert [row[0] for row in missing] == [lost[-1].event_id]

    for event in lost:
        assert await inbox.take(event) == Accepted()
    async with inbox.kit.database.read() as conn:
        found = await inbox.kit.reader.by_ids(conn, [event.event_id for event in lost])
        assert not await conn.fetch("SELECT event_id FROM missing_events")
    assert all(stored.position is not None and stored.state_sp is not None for stored in found.values())
    assert await inbox.current_state(room) == {key: event.event_id for key, event in room.state.items()}


async def test_an_outlier_that_its_auth_events_forbid_is_kept_as_rejected(inbox: Inbox) -> None:
    room = RoomBuilder(V11)
    room.public(ALICE)
    await inbox.take_all(room)
    bad = room.fork().draft(BOB, "m.room.topic", {"topic": "stranger"}, state_key="")
    kept = await inbox.arrivals.keep(room.room_id, [Arrival(bad, encode_lenient(bad.pdu))])
    assert isinstance(kept[bad.event_id], Rejected)


async def test_links_in_a_circle_are_dropped(inbox: Inbox) -> None:
    """Until room version 2 ids are chosen, so anybody can name what names them."""
    room = RoomBuilder(V1)
    room.public(ALICE)
    await inbox.take_all(room)
    one, other = room.message(ALICE), room.message(ALICE)
    circle = evolve(one, prev_events=(other.event_id,))
    verdicts = await inbox.arrivals.receive_all(
        room.room_id, [Arrival(event, encode_lenient(event.pdu)) for event in (circle, other)]
    )
    assert {type(verdict) for verdict in verdicts.values()} == {Dropped}
