"""What must not go wrong in the writer when commits fail, heads are given up or callers leave."""

import asyncio
from collections.abc import AsyncIterator
from secrets import token_urlsafe

import pytest

from homeserver.core.canonical_json import encode_lenient
from homeserver.core.event_build import Draft
from homeserver.core.receipt_checks import Accepted
from homeserver.core.room_versions import V11, V12
from homeserver.services import room_heads
from homeserver.services.arrivals import Arrivals
from homeserver.services.growth import Once
from homeserver.services.judging import Arrival
from homeserver.services.room_heads import Head
from homeserver.services.room_states import RoomStates
from storage.committer import Touched
from storage.database import Connection, Database, UniqueViolation
from storage.rooms import Room
from tests.kit import room_builder
from tests.kit.room_builder import RoomBuilder
from tests.kit.services import ALICE, BOB, Kit, build_kit, founding

TOPIC = ("m.room.topic", "")


class Brake:
    """Keeps the committer busy, so that what comes meanwhile waits for one turn together."""

    def __init__(self, kit: Kit) -> None:
        self.kit, self.release = kit, asyncio.Event()

    async def hold(self) -> None:
        holding = asyncio.Event()

        async def job(conn: Connection, position: int) -> None:
            holding.set()
            await self.release.wait()

        self._held = asyncio.create_task(self.kit.committer.run(job, Touched()))
        await holding.wait()

    async def waiting(self, count: int) -> None:
        while self.kit.committer.waiting < count:  # noqa: ASYNC110 (a few turns of the loop)
            await asyncio.sleep(0)


@pytest.fixture
async def kit(database: Database) -> AsyncIterator[Kit]:
    kit = build_kit(database)
    yield kit
    await kit.committer.drain()


async def test_batches_on_different_heads_never_share_a_turn(kit: Kit) -> None:
    room, _ = await kit.timeline.create(V12, founding(V12))
    brake = Brake(kit)
    await brake.hold()
    first = asyncio.create_task(kit.timeline.send(message(room, "first")))
    await brake.waiting(1)
    kit.timeline.heads.drop(await kit.timeline.head(room.room_id))  # as when it is the oldest of too many
    second = asyncio.create_task(kit.timeline.send(message(room, "second")))
    await brake.waiting(2)
    brake.release.set()
    before, after = await first, await second
    assert after.event.prev_events == (before.event.event_id,)


async def test_a_step_keeps_what_it_has_loaded(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    room, _ = await kit.timeline.create(V12, founding(V12))
    head = await kit.timeline.head(room.room_id)
    monkeypatch.setattr(room_heads, "MAX_STATE_ENTRIES", 1)
    others: list[asyncio.Task[None]] = []

    def decide(head: Head) -> list[Draft]:
        other = kit.timeline.heads.ensure(head, [("m.room.member", BOB)])
        others.append(asyncio.create_task(other))
        return [Draft("org.example.first", ALICE, {}, 1, room.room_id, "of its type")]

    assert await kit.timeline.change(room.room_id, [("m.room.member", ALICE)], decide)
    await asyncio.gather(*others)
    assert await kit.timeline.change(room.room_id, [("m.room.member", BOB)], lambda head: []) == []
    assert ("m.room.member", ALICE) not in head.state


async def test_a_redacted_state_event_is_held_redacted(kit: Kit, database: Database) -> None:
    room, _ = await kit.timeline.create(V12, founding(V12))
    topic = await kit.timeline.send(Draft(TOPIC[0], ALICE, {"topic": "secret"}, 1, room.room_id, ""))
    other = build_kit(database)
    brake = Brake(other)
    await brake.hold()
    redaction = Draft("m.room.redaction", ALICE, {"redacts": topic.event.event_id}, 2, room.room_id)
    sending = asyncio.create_task(other.timeline.send(redaction))
    await brake.waiting(1)
    head = await other.timeline.head(room.room_id)
    await other.timeline.heads.ensure(head, [TOPIC])
    brake.release.set()
    await sending
    await other.committer.drain()
    held = head.event(TOPIC)
    assert held is not None
    assert held.content == {}


async def test_another_servers_redaction_is_held_too(kit: Kit) -> None:
    arrivals = Arrivals(kit.timeline, RoomStates(kit.reader, kit.state_keys))
    room = RoomBuilder(V11).public(room_builder.ALICE)
    topic = room.topic(room_builder.ALICE, "secret")
    create, *events = room.events.values()
    head = await arrivals.begin(Arrival(create, encode_lenient(create.pdu)))
    for event in events:
        await arrivals.receive(Arrival(event, encode_lenient(event.pdu)))
    redaction = room.append(room.draft(room_builder.ALICE, "m.room.redaction", {"redacts": topic.event_id}))
    await arrivals.receive(Arrival(redaction, encode_lenient(redaction.pdu)))
    held = head.event(TOPIC)
    assert held is not None
    assert held.content == {}


async def test_who_waits_for_a_write_that_fails_decides_again(kit: Kit) -> None:
    room, _ = await kit.timeline.create(V12, founding(V12))
    once = Once(device_nid=7, txn_id="s1")

    def repeated(head: Head) -> list[Draft]:
        return [message(room, "hello")]

    await kit.timeline.change(room.room_id, [], repeated, once=once)
    brake = Brake(kit)
    await brake.hold()
    failing = asyncio.create_task(kit.timeline.change(room.room_id, [], repeated, once=once))
    await brake.waiting(1)
    decided = asyncio.Event()

    def nothing(head: Head) -> list[Draft]:
        decided.set()
        return []

    looking = asyncio.create_task(kit.timeline.change(room.room_id, [], nothing))
    await decided.wait()
    brake.release.set()
    with pytest.raises(UniqueViolation):
        await failing
    assert await looking == []


async def test_a_sender_who_leaves_disturbs_nobody(kit: Kit) -> None:
    arrivals = Arrivals(kit.timeline, RoomStates(kit.reader, kit.state_keys))
    room = RoomBuilder(V11).public(room_builder.ALICE)
    create, *events = room.events.values()
    head = await arrivals.begin(Arrival(create, encode_lenient(create.pdu)))
    for event in events:
        await arrivals.receive(Arrival(event, encode_lenient(event.pdu)))
    brake = Brake(kit)
    await brake.hold()
    said = room.message(room_builder.ALICE)
    receiving = asyncio.create_task(arrivals.receive(Arrival(said, encode_lenient(said.pdu))))
    await brake.waiting(1)
    waiting = asyncio.create_task(head.settled())
    await asyncio.sleep(0)
    receiving.cancel()
    brake.release.set()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    await waiting
    assert head.alive
    assert [event_id for _, event_id in head.extremities] == [said.event_id]


async def test_a_room_that_was_not_written_is_not_remembered(kit: Kit) -> None:
    arrivals = Arrivals(kit.timeline, RoomStates(kit.reader, kit.state_keys))
    create = next(iter(RoomBuilder(V11).public(room_builder.ALICE).events.values()))
    begun = await asyncio.gather(
        *[arrivals.begin(Arrival(create, encode_lenient(create.pdu))) for _ in "ab"], return_exceptions=True
    )
    assert sorted(type(one) for one in begun if isinstance(one, Exception)) == [UniqueViolation]
    assert (await kit.timeline.head(create.room_id)).alive


async def test_what_another_process_wrote_is_not_passed_over(kit: Kit, database: Database) -> None:
    room, _ = await kit.timeline.create(V12, founding(V12))
    before = kit.notifier.position
    alice = await kit.notifier.active(await kit.state_keys.user_nid(ALICE))
    other = build_kit(database)
    second, _ = await other.timeline.create(V11, founding(V11, room_id="!other:example.org"))
    await other.timeline.send(message(room, "theirs"))
    await kit.timeline.send(message(room, "ours"))
    assert kit.tails.since(room.nid, before) is None
    assert not alice.is_quiet_since(before)
    assert alice.floor > before
    again = await kit.notifier.active(alice.user_nid)
    assert set(again.rooms) == {room.nid, second.nid}


@pytest.mark.parametrize("name", ["$\0", "$" + token_urlsafe(9000), "no id"], ids=["NUL", "long", "no id"])
async def test_names_of_no_events_are_stored_as_said(kit: Kit, name: str) -> None:
    arrivals = Arrivals(kit.timeline, RoomStates(kit.reader, kit.state_keys))
    room = RoomBuilder(V11).public(room_builder.ALICE)
    create, *events = room.events.values()
    await arrivals.begin(Arrival(create, encode_lenient(create.pdu)))
    relation = {"m.relates_to": {"rel_type": "m.thread", "event_id": name}}
    for kind, content in (("m.room.redaction", {"redacts": name}), ("m.room.message", relation)):
        events.append(room.append(room.draft(room_builder.ALICE, kind, content)))
    for event in events:
        assert await arrivals.receive(Arrival(event, encode_lenient(event.pdu))) == Accepted()


def message(room: Room, body: str) -> Draft:
    return Draft("m.room.message", ALICE, {"body": body, "msgtype": "m.text"}, 1, room.room_id)
