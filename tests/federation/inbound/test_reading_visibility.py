"""What servers see of events: by the visibility then, and by who of their users was there or came later."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from homeserver.core.canonical_json import encode_lenient
from homeserver.core.event import Event
from homeserver.core.receipt_checks import Rejected, SoftFailed
from homeserver.core.redaction import redact
from homeserver.core.room_versions import V11, V12
from homeserver.services.judging import Arrival
from storage.database import Database
from tests.federation.inbound.library import Library, at, ids, open_library
from tests.kit.room_builder import ALICE, BOB, CHARLIE, RoomBuilder

A, B, C = "a.example", "b.example", "c.example"
BILL = "@bill:b.example"


@pytest.fixture
async def library(database: Database) -> AsyncIterator[Library]:
    async with open_library(database) as opened:
        yield opened


def set_visibility(room: RoomBuilder, visibility: object) -> None:
    room.send_state(ALICE, "m.room.history_visibility", "", {"history_visibility": visibility})


def never(room: RoomBuilder) -> None:
    """Nothing of the server happens here."""


def invited(room: RoomBuilder) -> None:
    room.invite(ALICE, BOB)


def joined(room: RoomBuilder) -> None:
    room.join(BOB)


def another_joined(room: RoomBuilder) -> None:
    room.join(BILL)


def left(room: RoomBuilder) -> None:
    room.join(BOB)
    room.leave(BOB)


def banned(room: RoomBuilder) -> None:
    room.join(BOB)
    room.ban(ALICE, BOB)


SEEN = [
    # visibility, before the event, after the event, is it seen?
    ("world_readable", never, joined, True),
    ("world_readable", left, never, True),
    ("shared", never, joined, True),
    ("shared", never, another_joined, True),
    ("shared", joined, never, True),
    ("shared", joined, banned, True),
    ("shared", left, never, False),
    ("shared", left, another_joined, True),
    ("shared", invited, joined, True),
    ("invited", invited, joined, True),
    ("invited", never, joined, False),
    ("invited", joined, never, True),
    ("invited", left, another_joined, False),
    ("joined", never, joined, False),
    ("joined", invited, joined, False),
    ("joined", another_joined, joined, True),
    ("joined", joined, left, True),
    ("joined", left, another_joined, False),
    ("nonsense", never, joined, True),  # not understood: shared
    (None, never, joined, True),
    (None, left, never, False),
]


@pytest.mark.parametrize(
    ("visibility", "before", "after", "seen"),
    SEEN,
    ids=[f"{v}, {before.__name__}, then {after.__name__}" for v, before, after, _ in SEEN],
)
async def test_table(library: Library, visibility: object, before: Any, after: Any, seen: bool) -> None:
    room = RoomBuilder(V12)
    room.public(ALICE)
    set_visibility(room, visibility)
    before(room)
    event = room.message(ALICE, "hush")
    after(room)
    room.message(ALICE)
    await library.take_all(room)
    shown = event.pdu if seen else redact(event.pdu, V12)
    assert (await library.get(B, f"/event/{event.event_id}"))["pdus"] == [shown]
    history = await library.get(B, f"/backfill/{at(room)}", v=room.last.event_id, limit=100)
    assert shown in history["pdus"]
    assert len(history["pdus"]) == len(room.events)
    asked = {"latest_events": [room.last.event_id], "earliest_events": []}
    assert (
        shown in (await library.get(B, f"/get_missing_events/{at(room)}", {**asked, "limit": 20}))["events"]
    )
    by_time = await library.ask(B, f"/timestamp_to_event/{at(room)}", ts=event.origin_server_ts, dir="f")
    assert (by_time[1].get("event_id") == event.event_id) is seen


async def test_one_who_was_there_is_enough(library: Library) -> None:
    """Of a server with many users also those are asked who have left since, and who are joined for a short time."""
    room = RoomBuilder(V11)
    room.public(ALICE)
    set_visibility(room, "joined")
    room.join(BOB)
    event = room.message(ALICE, "hush")
    room.leave(BOB)
    for number in range(12):
        room.join(f"@late{number}:b.example")
    await library.take_all(room)
    assert (await library.get(B, f"/event/{event.event_id}"))["pdus"] == [event.pdu]


async def test_who_has_left_sees_state_as_it_was_then(library: Library) -> None:
    room = RoomBuilder(V12)
    room.public(ALICE)
    room.join(BOB)
    then = room.topic(ALICE, "then")
    room.leave(BOB)
    later = room.topic(ALICE, "later")
    await library.take_all(room)
    for path in (f"/state/{at(room)}", f"/state_ids/{at(room)}"):
        assert (await library.ask(B, path, event_id=then.event_id))[0] == 200
        assert await library.refused(B, path, event_id=later.event_id) == (403, "M_FORBIDDEN")
        assert (await library.ask(A, path, event_id=later.event_id))[0] == 200
    assert (await library.ask(B, f"/event_auth/{at(room)}/{then.event_id}"))[0] == 200
    assert await library.refused(B, f"/event_auth/{at(room)}/{later.event_id}") == (403, "M_FORBIDDEN")


async def test_rejected_and_soft_failed_events_are_told_to_who_must_follow_them(library: Library) -> None:
    """They are checked there again; without them there would be a hole in the graph."""
    room = RoomBuilder(V12)
    room.public(ALICE)
    room.join(BOB)
    fork = room.fork()
    ban = room.ban(ALICE, BOB)
    await library.take_all(room)
    refused = room.fork().topic(CHARLIE, "mine")
    assert isinstance(await library.take(refused), Rejected)
    late = fork.message(BOB)
    assert isinstance(await library.take(late), SoftFailed)
    room.merge(room, fork)
    room.tips = (ban.event_id, late.event_id, refused.event_id)
    room.record.state_after[refused.event_id] = room.record.state_before[refused.event_id]
    await library.take(room.message(ALICE))
    asked = {"latest_events": [room.last.event_id], "earliest_events": [ban.event_id]}
    said = await library.get(A, f"/get_missing_events/{at(room)}", asked)
    assert {late.event_id, refused.event_id} <= set(ids(said["events"], V12))
    for event in (refused, late):
        assert (await library.get(A, f"/event/{event.event_id}"))["pdus"] == [event.pdu]
    for path in (f"/state_ids/{at(room)}", f"/state/{at(room)}"):
        assert (await library.ask(A, path, event_id=late.event_id))[0] == 200
        assert await library.refused(A, path, event_id=refused.event_id) == (404, "M_NOT_FOUND")


async def test_outliers_have_no_state(library: Library) -> None:
    room = RoomBuilder(V12)
    room.public(ALICE)
    room.join(BOB)
    await library.take_all(room)
    fork = room.fork()
    fork.message(ALICE)
    outlier, message = fork.topic(ALICE, "elsewhere"), fork.message(ALICE)
    await keep(library, room, [outlier, message])
    assert (await library.get(B, f"/event/{outlier.event_id}"))["pdus"] == [outlier.pdu]
    assert (await library.get(B, f"/event/{message.event_id}"))["pdus"] == [redact(message.pdu, V12)]
    for path in (f"/state/{at(room)}", f"/state_ids/{at(room)}"):
        assert await library.refused(B, path, event_id=outlier.event_id) == (404, "M_NOT_FOUND")
    said = await library.get(B, f"/event_auth/{at(room)}/{outlier.event_id}")
    assert set(ids(said["auth_chain"], V12)) >= set(outlier.auth_events)
    assert (await library.get(B, f"/backfill/{at(room)}", v=outlier.event_id, limit=5))["pdus"] == []


async def keep(library: Library, room: RoomBuilder, events: list[Event]) -> None:
    await library.arrivals.keep(room.room_id, [Arrival(event, encode_lenient(event.pdu)) for event in events])
