"""Rooms of other servers are entered: what was told becomes the room's state, the join its newest event."""

from collections.abc import AsyncIterator

import pytest
from attrs import evolve

from homeserver.core.canonical_json import encode_lenient
from homeserver.core.event import Event
from homeserver.core.receipt_checks import Accepted
from homeserver.core.room_versions import ROOM_VERSIONS, V11, V12, RoomVersion
from homeserver.services.adoption import Adoption, NotAdopted, Told
from homeserver.services.arrivals import Arrivals
from homeserver.services.judging import Arrival
from homeserver.services.room_states import RoomStates
from storage.database import Database
from tests.kit.room_builder import ALICE, BOB, CHARLIE, RoomBuilder
from tests.kit.services import Kit, build_kit
from tests.services.test_delivery_orders import current_state


@pytest.fixture
async def kit(database: Database) -> AsyncIterator[Kit]:
    kit = build_kit(database)
    yield kit
    await kit.committer.drain()


def arrivals_of(kit: Kit) -> Arrivals:
    return Arrivals(kit.timeline, RoomStates(kit.reader, kit.state_keys))


def arrival(event: Event) -> Arrival:
    return Arrival(event, encode_lenient(event.pdu))


def auth_chain(room: RoomBuilder, events: list[Event]) -> list[Event]:
    found: dict[str, Event] = {}
    frontier = list(events)
    while frontier:
        event = frontier.pop()
        for cited in event.auth_events:
            if cited not in found:
                found[cited] = room.events[cited]
                frontier.append(room.events[cited])
    return list(found.values())


def told(room: RoomBuilder, join: Event, state: list[Event]) -> Told:
    chain = auth_chain(room, [*state, join])
    return Told(arrival(join), [arrival(event) for event in state], [arrival(event) for event in chain])


def lively_room(version: RoomVersion) -> RoomBuilder:
    room = RoomBuilder(version)
    room.public(ALICE, {CHARLIE: 50})
    room.join(CHARLIE)
    room.topic(ALICE, "one")
    room.message(CHARLIE)
    room.topic(CHARLIE, "two")
    return room


@pytest.mark.parametrize("version", ROOM_VERSIONS.values(), ids=lambda version: f"v{version.name}")
async def test_a_room_is_entered(kit: Kit, version: RoomVersion) -> None:
    room = lively_room(version)
    before = list(room.state.values())
    join = room.join(BOB)
    adopted = await Adoption(kit.timeline, arrivals_of(kit)).adopt(version, told(room, join, before))
    assert adopted.version == version
    assert await current_state(kit) == {key: event.event_id for key, event in room.state.items()}
    async with kit.database.read() as conn:
        stored = await kit.reader.by_id(conn, join.event_id)
        assert stored is not None
        assert stored.position is not None
        missing = [row[0] for row in await conn.fetch("SELECT event_id FROM missing_events")]
        members = await conn.fetch("SELECT joined FROM room_heads")
    assert missing == list(join.prev_events)
    assert members[0][0] == 3

    topic, message = room.topic(ALICE, "three"), room.message(BOB)
    fork = room.fork(join)
    verdicts = await arrivals_of(kit).receive_all(
        room.room_id, [arrival(event) for event in (topic, message, fork.member(ALICE, CHARLIE, "ban"))]
    )
    assert set(verdicts.values()) == {Accepted()}


async def test_a_left_room_is_entered_again(kit: Kit) -> None:
    """Its state becomes what was told; what it was stays in the log."""
    room = lively_room(V12)
    adoption = Adoption(kit.timeline, arrivals_of(kit))
    join = room.join(BOB)
    state = [event for event in room.state.values() if event is not join]
    await adoption.adopt(V12, told(room, join, state))
    left = room.leave(BOB)
    assert await arrivals_of(kit).receive(arrival(left)) == Accepted()
    room.member(CHARLIE, CHARLIE, "leave")
    room.topic(ALICE, "behind our back")
    state = list(room.state.values())
    again = room.join(BOB)
    await adoption.adopt(V12, told(room, again, state))
    assert await current_state(kit) == {key: event.event_id for key, event in room.state.items()}
    async with kit.database.read() as conn:
        assert (await conn.fetch("SELECT joined FROM room_heads"))[0][0] == 2


async def test_a_room_we_have_been_in_keeps_its_version(kit: Kit) -> None:
    room = lively_room(V11)
    adoption = Adoption(kit.timeline, arrivals_of(kit))
    join = room.join(BOB)
    await adoption.adopt(V11, told(room, join, [one for one in room.state.values() if one is not join]))
    with pytest.raises(NotAdopted, match="version 11"):
        await adoption.adopt(V12, told(room, join, []))


@pytest.mark.parametrize("lost", ["_enter", "_begun", "_kept"])  # all that was written, or a half of it
async def test_what_an_attempt_left_behind_does_no_harm(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    room = lively_room(V11)
    before = list(room.state.values())
    join = room.join(BOB)
    adoption = Adoption(kit.timeline, arrivals_of(kit))

    async def fails(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(Adoption, lost, fails)
        with pytest.raises(ConnectionError):
            await adoption.adopt(V11, told(room, join, before))
    assert await kit.timeline.heads.get(kit.reader.rooms.known(room.room_id)) is None
    await adoption.adopt(V11, told(room, join, before))
    assert await current_state(kit) == {key: event.event_id for key, event in room.state.items()}


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda t: evolve(t, state=[one for one in t.state if one.event.type != "m.room.create"]), "create"),
        (lambda t: evolve(t, auth_chain=[], state=t.state[:1]), "not told"),
    ],
)  # fmt: skip
async def test_what_does_not_hold_is_not_adopted(kit: Kit, spoil, why: str) -> None:
    room = lively_room(V11)
    before = list(room.state.values())
    join = room.join(BOB)
    with pytest.raises(NotAdopted, match=why):
        await Adoption(kit.timeline, arrivals_of(kit)).adopt(V11, spoil(told(room, join, before)))


async def test_what_proves_to_be_forged_is_left_out(kit: Kit) -> None:
    """The signatures are verified while the room is written already."""
    room = lively_room(V11)
    before = list(room.state.values())
    join = room.join(BOB)
    everything = told(room, join, before)
    topic = room.state["m.room.topic", ""]

    async def rest() -> Told:
        return evolve(everything, state=[one for one in everything.state if one.event is not topic])

    await Adoption(kit.timeline, arrivals_of(kit)).adopt(V11, evolve(everything, proof=rest))
    expected = {key: event.event_id for key, event in room.state.items() if event is not topic}
    assert await current_state(kit) == expected
    async with kit.database.read() as conn:
        assert await kit.reader.by_id(conn, topic.event_id) is None


async def test_what_is_forged_cannot_keep_us_out(kit: Kit) -> None:
    """A second create event spoils the state, until it is known to be nobody's."""
    room, other = lively_room(V11), lively_room(V11)
    before = list(room.state.values())
    join = room.join(BOB)
    honest = told(room, join, before)
    create = arrival(evolve(other.state["m.room.create", ""], room_id=room.room_id))

    async def rest() -> Told:
        return honest

    spoilt = evolve(honest, auth_chain=[create, *honest.auth_chain], proof=rest)
    await Adoption(kit.timeline, arrivals_of(kit)).adopt(V11, spoilt)
    assert await current_state(kit) == {key: event.event_id for key, event in room.state.items()}


async def test_nothing_is_kept_of_what_is_never_proven(kit: Kit) -> None:
    room = lively_room(V11)
    before = list(room.state.values())
    join = room.join(BOB)

    async def fails() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await Adoption(kit.timeline, arrivals_of(kit)).adopt(
            V11, evolve(told(room, join, before), proof=fails)
        )
    async with kit.database.read() as conn:
        for table in ("events", "state_log", "current_state", "room_heads"):
            assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_a_join_that_the_state_forbids_is_not_adopted(kit: Kit) -> None:
    room = lively_room(V11)
    fork = room.fork()
    join = fork.join(BOB)
    room.member(ALICE, BOB, "ban")
    with pytest.raises(NotAdopted, match="does not allow"):
        await Adoption(kit.timeline, arrivals_of(kit)).adopt(V11, told(room, join, list(room.state.values())))
