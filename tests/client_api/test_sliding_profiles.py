"""Stories of profiles in sliding sync [MSC4262]."""

import asyncio
from typing import Any

import pytest

from tests.client_api.test_sliding_sync import Connection, window
from tests.kit.server import Client, RunningServer, segment
from tests.kit.sync_calls import create, join, pair, say

BEFORE = "org.matrix.msc4262.profiles"
LAZY = {"include": [], "lazy_members": True}
STATUS = "m.status"


def wanted(connection: Connection, **more: Any) -> dict[str, Any]:
    return {_name(connection): {"enabled": True, **more}}


def _name(connection: Connection) -> str:
    return BEFORE if connection.before else "profiles"


def people(connection: Connection, answer: Any) -> dict[str, Any]:
    found = answer["extensions"].get(_name(connection), {"users": {}})
    assert found.keys() == {"users"}
    return dict(found["users"])


async def set_field(client: Client, name: str, value: Any) -> None:
    await client.put(f"/v3/profile/{segment(client.user_id)}/{name}", {name: value})


async def drop_field(client: Client, name: str) -> None:
    await client.delete(f"/v3/profile/{segment(client.user_id)}/{name}")


async def test_the_extension_is_advertised(server: RunningServer) -> None:
    versions = await server.anonymous().get("/_matrix/client/versions")
    assert versions["unstable_features"]["org.matrix.msc4262"] is True


@pytest.mark.parametrize("before", [True, False])
async def test_whole_profiles_and_then_what_changes(server: RunningServer, before: bool) -> None:
    alice, bob, _ = await pair(server)
    await set_field(alice, STATUS, {"text": "at sea"})
    connection = Connection(bob, before)
    first = await connection.ask(lists=window(), extensions=wanted(connection))
    assert people(connection, first) == {
        alice.user_id: {"updated": {"displayname": "alice", STATUS: {"text": "at sea"}}},
        bob.user_id: {"updated": {"displayname": "bob"}},
    }
    waiting = asyncio.ensure_future(connection.ask(timeout=10_000))
    await set_field(alice, STATUS, None)
    assert people(connection, await waiting) == {alice.user_id: {"updated": {STATUS: None}}}
    await drop_field(alice, STATUS)
    await set_field(alice, "m.tz", "Europe/Oslo")
    told = {alice.user_id: {"updated": {"m.tz": "Europe/Oslo"}, "removed": [STATUS]}}
    pos = connection.pos
    assert people(connection, await connection.ask()) == told
    assert people(connection, await connection.ask(pos=pos)) == told  # the answer was lost
    assert people(connection, await connection.ask()) == {}
    await drop_field(alice, STATUS)  # nothing is there any more
    assert people(connection, await connection.ask()) == {}


async def test_only_the_fields_that_are_asked_for_and_more_of_them_later(server: RunningServer) -> None:
    alice, bob, _ = await pair(server)
    await set_field(alice, "org.example.a", 1)
    connection = Connection(bob)
    first = await connection.ask(lists=window(), extensions=wanted(connection, fields=["org.example.a"]))
    assert people(connection, first) == {alice.user_id: {"updated": {"org.example.a": 1}}}
    await set_field(alice, "org.example.b", 2)
    assert people(connection, await connection.ask()) == {}
    more = await connection.ask(extensions=wanted(connection, fields=["org.example.a", "org.example.b"]))
    assert people(connection, more) == {
        alice.user_id: {"updated": {"org.example.a": 1, "org.example.b": 2}},
    }
    await drop_field(alice, "org.example.a")
    none = await connection.ask(extensions=wanted(connection, fields=["org.example.b"]))
    assert people(connection, none) == {alice.user_id: {"updated": {"org.example.b": 2}}}
    again = await connection.ask(extensions=wanted(connection))
    assert people(connection, again)[alice.user_id]["removed"] == ["org.example.a"]


async def test_who_comes_is_told_and_who_is_out_of_sight(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    carol = await server.register("carol")
    await set_field(carol, STATUS, "new here")
    connection = Connection(alice)
    await connection.ask(lists=window(), extensions=wanted(connection, fields=[STATUS]))
    await join(carol, room_id)
    assert people(connection, await connection.ask()) == {carol.user_id: {"updated": {STATUS: "new here"}}}
    await carol.post(f"/v3/rooms/{segment(room_id)}/leave")
    assert people(connection, await connection.ask()) == {carol.user_id: None}
    await set_field(carol, STATUS, "away")
    assert people(connection, await connection.ask()) == {}
    await join(carol, room_id)
    assert people(connection, await connection.ask()) == {carol.user_id: {"updated": {STATUS: "away"}}}
    await alice.post(f"/v3/rooms/{segment(room_id)}/leave")
    assert people(connection, await connection.ask()) == dict.fromkeys((bob.user_id, carol.user_id))


async def test_with_lazy_loading_those_who_have_to_be_shown(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    carol = await server.register("carol")
    for number in range(6):  # heroes, so that Carol is none
        await join(await server.register(f"u{number}"), room_id)
    await join(carol, room_id)
    for client in (alice, carol):
        await set_field(client, STATUS, client.user_id)
    await alice.put(f"/v3/rooms/{segment(room_id)}/state/m.room.name", {"name": "Den"})
    connection = Connection(bob)
    first = await connection.ask(
        lists=window(state=LAZY, limit=1), extensions=wanted(connection, fields=[STATUS])
    )
    assert people(connection, first) == {alice.user_id: {"updated": {STATUS: alice.user_id}}}
    await say(carol, room_id, "hi")
    assert people(connection, await connection.ask()) == {carol.user_id: {"updated": {STATUS: carol.user_id}}}
    await say(carol, room_id, "again")
    assert people(connection, await connection.ask()) == {}
    everybody = await connection.ask(lists=window(state={"include": []}, limit=1))
    assert people(connection, everybody).keys() == {alice.user_id, carol.user_id}


async def test_changes_come_from_rooms_outside_of_the_window_too(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    newer = await create(bob)
    await set_field(alice, STATUS, "unseen")
    connection = Connection(bob)
    first = await connection.ask(lists=window(end=0), extensions=wanted(connection, fields=[STATUS]))
    assert first["rooms"].keys() == {newer}
    assert people(connection, first) == {}
    await set_field(alice, STATUS, "seen")
    assert people(connection, await connection.ask()) == {alice.user_id: {"updated": {STATUS: "seen"}}}
    wider = await connection.ask(lists=window(end=1))
    assert wider["rooms"].keys() == {room_id}
    assert people(connection, wider) == {alice.user_id: {"updated": {STATUS: "seen"}}}
    off = {_name(connection): {"enabled": False}}
    await connection.ask(extensions=off)
    await set_field(alice, STATUS, "unheard")
    assert (await connection.ask())["extensions"] == {}
    on = await connection.ask(extensions=wanted(connection, fields=[STATUS]))
    assert people(connection, on) == {alice.user_id: {"updated": {STATUS: "unheard"}}}


async def test_ones_own_changes_without_any_room_and_lists_that_are_left_out(server: RunningServer) -> None:
    carol = await server.register("carol")
    connection = Connection(carol)
    first = await connection.ask(lists=window(), extensions=wanted(connection))
    assert people(connection, first) == {carol.user_id: {"updated": {"displayname": "carol"}}}
    waiting = asyncio.ensure_future(connection.ask(timeout=10_000))
    await set_field(carol, "displayname", "Carol")
    assert people(connection, await waiting) == {carol.user_id: {"updated": {"displayname": "Carol"}}}
    alice, bob, _ = await pair(server)
    apart = Connection(bob)
    first = await apart.ask(lists=window(), extensions=wanted(apart, lists=[], rooms=[]))
    assert people(apart, first).keys() == {bob.user_id}
    second = await apart.ask(extensions=wanted(apart, lists=["all"]))
    assert people(apart, second).keys() == {alice.user_id, bob.user_id}


async def test_a_waiting_sync_of_the_older_kind_is_not_answered_for_a_profile(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    since = (await bob.get("/v3/sync"))["next_batch"]
    waiting = asyncio.ensure_future(bob.get("/v3/sync", since=since, timeout=10_000))
    await set_field(alice, STATUS, "busy")
    await say(alice, room_id, "hi")
    answer = await waiting
    assert [event["content"]["body"] for event in answer["rooms"]["join"][room_id]["timeline"]["events"]] == [
        "hi"
    ]


async def test_who_goes_after_the_reader_did_is_out_of_sight_too(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    connection = Connection(bob)
    extensions = wanted(connection, fields=[STATUS]) | {"e2ee": {"enabled": True}}
    await connection.ask(lists=window(), extensions=extensions)
    since = (await bob.get("/v3/sync"))["next_batch"]
    for client in (bob, alice):
        await client.post(f"/v3/rooms/{segment(room_id)}/leave")
    answer = await connection.ask()
    assert people(connection, answer) == {alice.user_id: None}
    assert answer["extensions"]["e2ee"]["device_lists"] == {"left": [alice.user_id]}
    assert (await bob.get("/v3/sync", since=since))["device_lists"] == {"left": [alice.user_id]}


async def test_who_is_only_invited_is_out_of_sight_though_their_devices_are_not(
    server: RunningServer,
) -> None:
    alice, bob, room_id = await pair(server)
    connection = Connection(alice)
    extensions = wanted(connection, fields=[STATUS]) | {"e2ee": {"enabled": True}}
    await connection.ask(lists=window(), extensions=extensions)
    await bob.post(f"/v3/rooms/{segment(room_id)}/leave")
    await create(alice, preset="trusted_private_chat", invite=[bob.user_id])
    answer = await connection.ask()
    assert people(connection, answer) == {bob.user_id: None}
    assert answer["extensions"]["e2ee"]["device_lists"] == {"changed": [bob.user_id]}
