"""Typing, receipts and presence of our users reach the servers that are to hear of them."""

import re
from collections.abc import AsyncIterator

import pytest
from attrs import frozen

from homeserver.services.background import Background
from homeserver.services.presence import Presences
from homeserver.services.receipts import Mark, Receipts
from homeserver.services.typing import TypingService
from storage.database import Database
from storage.rooms import Room
from tests.federation.sending import Running, sending
from tests.kit.services import ALICE, BOB

ONE, TWO, THREE = "one.example", "two.example", "three.example"


@frozen
class Ours:
    """Our server, a room with ONE and TWO, another room with THREE."""

    running: Running
    room: Room
    alice: int
    background: Background

    @property
    def typing(self) -> TypingService:
        parts = self.running.foundation
        return TypingService(parts.database, parts.committer, parts.reader.rooms, self.background)

    @property
    def receipts(self) -> Receipts:
        parts = self.running.foundation
        return Receipts(parts.database, parts.reader, parts.committer)

    @property
    def presences(self) -> Presences:
        parts = self.running.foundation
        return Presences(parts.database, parts.committer, parts.state_keys, self.background)

    async def told(self, kind: str, count: int = 1) -> list[object]:
        """What ONE hears of a kind, after that many; TWO hears the same, THREE nothing."""
        world = self.running.world
        await world.until(lambda: min(len(world.edus(server, kind)) for server in (ONE, TWO)) >= count)
        assert _ageless(world.edus(ONE, kind)) == _ageless(world.edus(TWO, kind))
        return world.edus(ONE, kind)


def _ageless(edus: list[object]) -> str:
    """Servers are written to at different moments: how long ago something was is left out."""
    return re.sub(r"'last_active_ago': \d+", "", repr(edus))


@pytest.fixture
async def ours(database: Database) -> AsyncIterator[Ours]:
    async with sending(database) as running:
        room = await running.room(ONE, TWO)
        await running.room(THREE)
        await running.followed(running.foundation.notifier.position)
        background = Background()
        alice = await running.foundation.state_keys.user_nid(ALICE)
        yield Ours(running, room, alice, background)
        await background.settle()


async def test_who_types(ours: Ours) -> None:
    await ours.typing.begin(ours.room.nid, ours.alice, 30_000)
    said = {"room_id": ours.room.room_id, "user_id": ALICE}
    assert await ours.told("m.typing") == [{**said, "typing": True}]
    await ours.typing.stop(ours.room.nid, ours.alice)
    assert await ours.told("m.typing", 2) == [{**said, "typing": True}, {**said, "typing": False}]
    assert not ours.running.world.taken[THREE]


async def test_who_goes_on_typing_is_told_again(ours: Ours, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("federation.passing_by.RENEW_TYPING", 0)
    await ours.typing.begin(ours.room.nid, ours.alice, 30_000)
    told = await ours.told("m.typing", 3)
    assert all(one["typing"] for one in told)  # type: ignore[index]


async def test_public_receipts_only(ours: Ours) -> None:
    event = await ours.running.say(ours.room, "read me")
    event_id = event.event.event_id
    for mark in (Mark("m.read.private", event_id), Mark("m.read", event_id)):
        await ours.receipts.put(ours.alice, ours.room.room_id, [mark])
    [told] = await ours.told("m.receipt")
    assert told[ours.room.room_id]["m.read"][ALICE]["event_ids"] == [event_id]  # type: ignore[index]
    assert not ours.running.world.edus(THREE, "m.receipt")


async def test_presence_goes_to_all_who_share_a_room(ours: Ours) -> None:
    await ours.presences.put(ours.alice, "unavailable", "out for lunch")
    [told] = await ours.told("m.presence")
    assert told["push"][0]["status_msg"] == "out for lunch"  # type: ignore[index]
    await ours.running.world.until(lambda: bool(ours.running.world.edus(THREE, "m.presence")))


async def test_what_passes_by_is_lost_when_a_server_is_down(ours: Ours) -> None:
    world = ours.running.world
    world.down.add(ONE)
    await ours.typing.begin(ours.room.nid, ours.alice, 30_000)
    await world.until(lambda: bool(world.edus(TWO, "m.typing")))
    await ours.typing.stop(ours.room.nid, ours.alice)
    await world.until(lambda: len(world.edus(TWO, "m.typing")) == 2)
    queue = ours.running.parts.sender.roster.queue(ONE)
    assert queue is not None
    assert len(queue.mailbox) == 0
    assert not queue.has_events


async def test_typing_in_a_room_of_our_own_is_nobodys_business(ours: Ours) -> None:
    room = await ours.running.room()
    await ours.typing.begin(room.nid, ours.alice, 30_000)
    await ours.typing.begin(ours.room.nid, ours.alice, 30_000)
    assert len(await ours.told("m.typing")) == 1


async def test_presence_greets_who_newly_shares_a_room(ours: Ours) -> None:
    world, four = ours.running.world, "four.example"
    await ours.presences.put(ours.alice, "unavailable", "reading")
    await world.until(lambda: all(world.edus(server, "m.presence") for server in (ONE, TWO, THREE)))
    before = {server: len(world.edus(server, "m.presence")) for server in (ONE, TWO, THREE)}
    await ours.running.member(ours.room, f"@them:{four}", "join")
    await world.until(lambda: bool(world.edus(four, "m.presence")))
    [push] = world.edus(four, "m.presence")[0]["push"]
    assert (push["user_id"], push["presence"], push["status_msg"]) == (ALICE, "unavailable", "reading")
    await ours.running.member(ours.room, f"@others:{four}", "join")  # they know already
    last = await ours.running.say(ours.room, "the end")
    await world.until(lambda: "the end" in world.events(four))
    await ours.running.followed(last.position)
    assert len(world.edus(four, "m.presence")) == 1
    assert {server: len(world.edus(server, "m.presence")) for server in before} == before


async def test_presence_of_who_enters_is_told_in_the_room(ours: Ours) -> None:
    world = ours.running.world
    bob = await ours.running.foundation.state_keys.user_nid(BOB)
    await ours.presences.put(bob, "online", "new here")
    await ours.running.followed(ours.running.foundation.notifier.position)  # shared with nobody
    await ours.running.member(ours.room, BOB, "join")
    [told] = await ours.told("m.presence")
    assert told["push"][0]["user_id"] == BOB  # type: ignore[index]
    assert not world.edus(THREE, "m.presence")
