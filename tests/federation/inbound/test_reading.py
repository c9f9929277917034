"""What other servers may read of rooms, over HTTP."""

from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest

from homeserver.core.canonical_json import encode_lenient
from homeserver.core.redaction import redact
from homeserver.core.room_versions import ROOM_VERSIONS, V1, V11, V12, RoomVersion
from storage.database import Database
from tests.federation.inbound.library import Library, at, ids, open_library
from tests.kit.room_builder import ALICE, BOB, CHARLIE, RoomBuilder

A, B, C = "a.example", "b.example", "c.example"
STRANGER = "elsewhere.example"
VERSIONS = pytest.mark.parametrize("version", ROOM_VERSIONS.values(), ids=lambda version: f"v{version.name}")


@pytest.fixture
async def library(database: Database) -> AsyncIterator[Library]:
    async with open_library(database) as opened:
        yield opened


def forked(version: RoomVersion) -> tuple[RoomBuilder, RoomBuilder, RoomBuilder]:
    """The room after its branches were merged, and both of these."""
    room = RoomBuilder(version)
    room.public(ALICE, {BOB: 50})
    room.join(BOB)
    left, right = room.fork(), room.fork()
    left.topic(ALICE, "spring")
    left.join(CHARLIE)
    left.message(CHARLIE)
    right.send_state(BOB, "m.room.name", "", {"name": "garden"})
    right.message(BOB)
    room.merge(left, right).message(ALICE)
    return room, left, right


def auth_chain(room: RoomBuilder, event_ids: list[str]) -> set[str]:
    """What the events rest on, by their own words and, since v12, on the create event."""
    found: set[str] = set()
    stack = list(event_ids)
    while stack:
        for parent in room.events[stack.pop()].auth_events:
            if parent not in found:
                found.add(parent)
                stack.append(parent)
    create = next(iter(room.events))
    return found | {create} if room.version.room_id_is_create_hash and {*event_ids} - {create} else found


@VERSIONS
async def test_an_event_is_told_as_it_was_signed(library: Library, version: RoomVersion) -> None:
    room, _, _ = forked(version)
    await library.take_all(room)
    for event in room.events.values():
        said = await library.get(B, f"/event/{quote(event.event_id, safe='')}")
        assert said["origin"] == "example.org"
        assert [encode_lenient(pdu) for pdu in said["pdus"]] == [encode_lenient(event.pdu)]


@VERSIONS
async def test_state_before_every_event(library: Library, version: RoomVersion) -> None:
    room, _, _ = forked(version)
    await library.take_all(room)
    for event_id, before in room.record.state_before.items():
        said = await library.get(B, f"/state_ids/{at(room)}", event_id=event_id)
        assert sorted(said["pdu_ids"]) == sorted(before.values())
        assert set(said["auth_chain_ids"]) == auth_chain(room, list(before.values()))
        whole = await library.get(B, f"/state/{at(room)}", event_id=event_id)
        assert ids(whole["pdus"], version) == said["pdu_ids"]
        assert ids(whole["auth_chain"], version) == said["auth_chain_ids"]


@VERSIONS
async def test_what_authorizes_an_event(library: Library, version: RoomVersion) -> None:
    room, _, _ = forked(version)
    await library.take_all(room)
    for event_id in room.events:
        said = await library.get(A, f"/event_auth/{at(room)}/{quote(event_id, safe='')}")
        assert set(ids(said["auth_chain"], version)) == auth_chain(room, [event_id])


@VERSIONS
async def test_backfill_walks_back_breadth_first(library: Library, version: RoomVersion) -> None:
    room, left, right = forked(version)
    await library.take_all(room)
    near = {room.last.event_id, left.last.event_id, right.last.event_id}
    said = await library.get(B, f"/backfill/{at(room)}", v=room.last.event_id, limit=3)
    assert set(ids(said["pdus"], version)) == near
    whole = await library.get(B, f"/backfill/{at(room)}", v=room.last.event_id, limit=10_000)
    assert sorted(ids(whole["pdus"], version)) == sorted(room.events)
    depths = [pdu["depth"] for pdu in whole["pdus"]]
    assert depths == sorted(depths, reverse=True)
    only = await library.get(B, f"/backfill/{at(room)}", v=left.last.event_id, limit=1)
    assert ids(only["pdus"], version) == [left.last.event_id]


async def test_backfill_takes_several_and_overlooks_the_unknown(library: Library) -> None:
    room, left, right = forked(V12)
    await library.take_all(room)
    wanted = [("v", left.last.event_id), ("v", "$none"), ("v", right.last.event_id), ("limit", "2")]
    async with library.http.get(
        f"/_matrix/federation/v1/backfill/{at(room)}", params=wanted, headers={"X-Origin": A}
    ) as answer:
        said = await answer.json()
    assert set(ids(said["pdus"], V12)) == {left.last.event_id, right.last.event_id}
    nothing = await library.get(A, f"/backfill/{at(room)}", v="$none", limit=5)
    assert nothing["pdus"] == []


@VERSIONS
async def test_missing_events_lie_between(library: Library, version: RoomVersion) -> None:
    room, left, right = forked(version)
    await library.take_all(room)
    path = f"/get_missing_events/{at(room)}"
    base = next(e for e in room.events.values() if e.event_id in room.events[left.last.event_id].prev_events)
    asked = {"latest_events": [room.last.event_id], "earliest_events": [base.event_id]}
    few = await library.get(B, path, {**asked, "limit": 2})
    assert set(ids(few["events"], version)) == {left.last.event_id, right.last.event_id}
    all_of_them = await library.get(B, path, {**asked, "limit": 1000})
    found = ids(all_of_them["events"], version)
    assert base.event_id not in found
    assert room.last.event_id not in found
    depths = [event["depth"] for event in all_of_them["events"]]
    assert depths == sorted(depths)
    deep = await library.get(B, path, {**asked, "limit": 20, "min_depth": room.last.depth - 1})
    assert {event["depth"] for event in deep["events"]} == {room.last.depth - 1}
    assert (await library.get(B, path, {**asked, "limit": 0}))["events"] == []


async def test_at_most_twenty_missing_and_a_hundred_of_history(library: Library) -> None:
    room = RoomBuilder(V12)
    room.public(ALICE)
    for number in range(130):
        room.message(ALICE, str(number))
    await library.take_all(room)
    asked = {"latest_events": [room.last.event_id], "earliest_events": [], "limit": 500}
    missing = await library.get(A, f"/get_missing_events/{at(room)}", asked)
    assert len(missing["events"]) == 20
    said = await library.get(A, f"/backfill/{at(room)}", v=room.last.event_id, limit=500)
    assert [pdu["content"]["body"] for pdu in said["pdus"]] == [str(n) for n in range(129, 29, -1)]


def all_paths(room: RoomBuilder) -> list[tuple[str, object, dict[str, object]]]:
    last = room.last.event_id
    return [
        (f"/event/{quote(last, safe='')}", None, {}),
        (f"/state/{at(room)}", None, {"event_id": last}),
        (f"/state_ids/{at(room)}", None, {"event_id": last}),
        (f"/event_auth/{at(room)}/{quote(last, safe='')}", None, {}),
        (f"/backfill/{at(room)}", None, {"v": last, "limit": 10}),
        (f"/get_missing_events/{at(room)}", {"latest_events": [last], "earliest_events": []}, {}),
        (f"/timestamp_to_event/{at(room)}", None, {"ts": 0, "dir": "f"}),
    ]


async def test_strangers_are_told_nothing(library: Library) -> None:
    """Neither servers without any user there, nor such whose users were only invited; also where the world may read."""
    room = RoomBuilder(V12)
    room.public(ALICE)
    room.send_state(ALICE, "m.room.history_visibility", "", {"history_visibility": "world_readable"})
    room.invite(ALICE, CHARLIE)
    room.leave(CHARLIE)
    room.message(ALICE)
    await library.take_all(room)
    for path, body, query in all_paths(room):
        for origin in (STRANGER, C):
            assert await library.refused(origin, path, body, **query) == (403, "M_FORBIDDEN"), path
        assert (await library.ask(A, path, body, **query))[0] == 200, path


async def test_the_access_control_list_excludes(library: Library) -> None:
    room = RoomBuilder(V12)
    room.public(ALICE)
    room.join(BOB)
    room.send_state(ALICE, "m.room.server_acl", "", {"allow": ["*"], "deny": ["b.*"]})
    await library.take_all(room)
    for path, body, query in all_paths(room):
        assert await library.refused(B, path, body, **query) == (403, "M_FORBIDDEN"), path
        assert (await library.ask(A, path, body, **query))[0] == 200, path
    lifted = room.send_state(ALICE, "m.room.server_acl", "", {"allow": ["*"]})
    await library.take(lifted)
    for path, body, query in all_paths(room):
        assert (await library.ask(B, path, body, **query))[0] == 200, path


async def test_what_is_not_in_the_room_is_not_found(library: Library) -> None:
    room, other = RoomBuilder(V11), RoomBuilder(V11, room_id="!other:a.example")
    room.public(ALICE)
    other.public(ALICE)
    elsewhere = other.topic(ALICE, "elsewhere").event_id
    await library.take_all(room)
    await library.take_all(other)
    for event_id in ("$unknown", elsewhere):
        for path in (f"/state/{at(room)}", f"/state_ids/{at(room)}"):
            assert await library.refused(A, path, event_id=event_id) == (404, "M_NOT_FOUND")
        assert await library.refused(A, f"/event_auth/{at(room)}/{event_id}") == (404, "M_NOT_FOUND")
        asked = {"latest_events": [event_id], "earliest_events": []}
        assert (await library.get(A, f"/get_missing_events/{at(room)}", asked))["events"] == []
        assert (await library.get(A, f"/backfill/{at(room)}", v=event_id, limit=9))["pdus"] == []
    assert await library.refused(A, "/event/$unknown") == (404, "M_NOT_FOUND")
    assert await library.refused(A, "/state/!unknown:a.example", event_id="$x") == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/state/{room}", None, "M_MISSING_PARAM"),
        ("/backfill/{room}?v=$x", None, "M_MISSING_PARAM"),
        ("/backfill/{room}?limit=5", None, "M_MISSING_PARAM"),
        ("/backfill/{room}?v=$x&limit=-1", None, "M_INVALID_PARAM"),
        ("/backfill/{room}?v=$x&limit=x", None, "M_INVALID_PARAM"),
        ("/get_missing_events/{room}", {"latest_events": 5}, "M_BAD_JSON"),
        ("/get_missing_events/{room}", {"latest_events": [5]}, "M_BAD_JSON"),
        ("/get_missing_events/{room}", {"latest_events": ["$x"], "limit": "many"}, "M_BAD_JSON"),
        ("/timestamp_to_event/{room}?ts=5&dir=x", None, "M_INVALID_PARAM"),
        ("/timestamp_to_event/{room}?ts=-5&dir=f", None, "M_INVALID_PARAM"),
    ],
)
async def test_malformed_questions(library: Library, path: str, body: object, code: str) -> None:
    room = RoomBuilder(V12)
    room.public(ALICE)
    await library.take_all(room)
    assert await library.refused(A, path.format(room=at(room)), body) == (400, code)


@pytest.mark.parametrize("version", [V1, V11], ids=lambda version: f"v{version.name}")
async def test_redacted_events_are_told_redacted(library: Library, version: RoomVersion) -> None:
    room = RoomBuilder(version)
    room.public(ALICE)
    message = room.message(ALICE, "a secret")
    content = {"redacts": message.event_id} if version.redacts_in_content else {}
    draft = room.draft(ALICE, "m.room.redaction", content)
    if not version.redacts_in_content:
        draft = room._hashed({**_unhashed(draft.pdu), "redacts": message.event_id})
    room.append(draft)
    await library.take_all(room)
    said = await library.get(A, f"/event/{quote(message.event_id, safe='')}")
    assert said["pdus"] == [redact(message.pdu, version)]
    history = await library.get(A, f"/backfill/{at(room)}", v=room.last.event_id, limit=2)
    assert history["pdus"] == [room.last.pdu, redact(message.pdu, version)]


def _unhashed(pdu: object) -> dict[str, object]:
    made = {"hashes", "signatures", "event_id"}
    return {key: value for key, value in dict(pdu).items() if key not in made}  # type: ignore[call-overload]


async def test_the_event_of_a_time(library: Library) -> None:
    room, _, _ = forked(V12)
    await library.take_all(room)
    path = f"/timestamp_to_event/{at(room)}"
    for event in room.events.values():
        said = await library.get(A, path, ts=event.origin_server_ts, dir="f")
        assert said == {"event_id": event.event_id, "origin_server_ts": event.origin_server_ts}
    late = room.last.origin_server_ts + 1
    assert (await library.get(A, path, ts=late, dir="b"))["event_id"] == room.last.event_id
    assert await library.refused(A, path, ts=late, dir="f") == (404, "M_NOT_FOUND")
