"""Pushers and what gateways are told, through restarts and faults [push-gateway]."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from homeserver.app import config as options
from tests.client_api.test_push_counts import mention, read
from tests.kit.push_gateway import Gateway, push_gateway
from tests.kit.server import Client, RunningServer, plain_config, running, segment
from tests.kit.sync_calls import create, pair, put, say

LOCAL = options.Push(allowed_networks=["127.0.0.0/8"])


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with push_gateway() as gateway:
        yield gateway


@pytest.fixture
async def server(pg_url: str, tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running(pg_url, plain_config(tmp_path, push=LOCAL)) as server:
        yield server


def pusher(gateway: Gateway, pushkey: str = "key", **more: Any) -> dict[str, Any]:
    return {
        "kind": "http",
        "app_id": "org.example.app",
        "pushkey": pushkey,
        "app_display_name": "App",
        "device_display_name": "Phone",
        "lang": "en",
        "data": {"url": gateway.url, "custom": 1},
        **more,
    }


async def set_up(client: Client, gateway: Gateway, pushkey: str = "key", **more: Any) -> None:
    await client.post("/v3/pushers/set", pusher(gateway, pushkey, **more))


async def test_pushers_are_made_changed_listed_and_deleted(server: RunningServer, gateway: Gateway) -> None:
    alice = await server.register("alice")
    assert await alice.get("/v3/pushers") == {"pushers": []}
    await set_up(alice, gateway, profile_tag="x")
    assert await alice.get("/v3/pushers") == {"pushers": [pusher(gateway, profile_tag="x")]}
    await set_up(alice, gateway, lang="de")
    assert await alice.get("/v3/pushers") == {"pushers": [pusher(gateway, lang="de")]}
    await alice.post("/v3/pushers/set", {"kind": None, "app_id": "org.example.app", "pushkey": "key"})
    assert await alice.get("/v3/pushers") == {"pushers": []}


async def test_a_device_that_changes_hands(server: RunningServer, gateway: Gateway) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    await set_up(alice, gateway)
    await set_up(bob, gateway, append=True)
    assert len((await alice.get("/v3/pushers"))["pushers"]) == 1
    await set_up(bob, gateway)
    assert (await alice.get("/v3/pushers"))["pushers"] == []


async def test_pushers_go_with_their_device(server: RunningServer, gateway: Gateway) -> None:
    alice = await server.register("alice")
    phone = await server.login("alice")
    await set_up(phone, gateway)
    await phone.post("/v3/logout")
    assert (await alice.get("/v3/pushers"))["pushers"] == []


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"kind": "pigeon"}, (400, "M_INVALID_PARAM")),
        ({"kind": 1}, (400, "M_BAD_JSON")),
        ({"app_id": "x" * 65}, (400, "M_INVALID_PARAM")),
        ({"pushkey": "x" * 513}, (400, "M_INVALID_PARAM")),
        ({"data": {}}, (400, "M_MISSING_PARAM")),
        ({"data": {"url": "https://example.org/other"}}, (400, "M_INVALID_PARAM")),
        ({"data": {"url": "file:///_matrix/push/v1/notify"}}, (400, "M_INVALID_PARAM")),
        ({"data": {"url": 1}}, (400, "M_INVALID_PARAM")),
        ({"data": []}, (400, "M_BAD_JSON")),
        ({"lang": 1}, (400, "M_BAD_JSON")),
    ],
)
async def test_what_is_refused(
    server: RunningServer, gateway: Gateway, change: dict[str, Any], refusal: tuple[int, str]
) -> None:
    alice = await server.register()
    assert await alice.refused("POST", "/v3/pushers/set", {**pusher(gateway), **change}) == refusal
    incomplete = {name: value for name, value in pusher(gateway).items() if name != "lang"}
    assert await alice.refused("POST", "/v3/pushers/set", incomplete) == (400, "M_MISSING_PARAM")


async def test_a_gateway_is_told_everything(server: RunningServer, gateway: Gateway) -> None:
    alice, bob, room_id = await pair(server)
    await put(alice, room_id, "m.room.name", {"name": "Bridge"})
    await say(alice, room_id, "before")
    await set_up(bob, gateway)
    event_id = await say(alice, room_id, "hello", **mention(bob))
    (told,) = await gateway.until(1)
    device = told.pop("devices")[0]
    assert isinstance(device.pop("pushkey_ts"), int)
    assert device == {
        "app_id": "org.example.app",
        "pushkey": "key",
        "data": {"custom": 1},
        "tweaks": {"sound": "default", "highlight": True},
    }
    assert told == {
        "event_id": event_id,
        "id": event_id,
        "room_id": room_id,
        "type": "m.room.message",
        "sender": alice.user_id,
        "sender_display_name": "alice",
        "content": {"msgtype": "m.text", "body": "hello", **mention(bob)},
        "counts": {"unread": 2},
        "prio": "high",
        "room_name": "Bridge",
    }


async def test_a_gateway_is_told_ids_only(server: RunningServer, gateway: Gateway) -> None:
    alice, bob, room_id = await pair(server)
    await set_up(bob, gateway, data={"url": gateway.url, "format": "event_id_only"})
    event_id = await say(alice, room_id, "hello")
    (told,) = await gateway.until(1)
    assert told.keys() == {"event_id", "room_id", "counts", "prio", "devices"}
    assert (told["event_id"], told["room_id"]) == (event_id, room_id)
    assert told["devices"][0]["data"] == {"format": "event_id_only"}


async def test_a_room_without_a_name_goes_by_its_alias(server: RunningServer, gateway: Gateway) -> None:
    alice, bob, room_id = await pair(server)
    await alice.put(f"/v3/directory/room/{segment('#bridge:localhost')}", {"room_id": room_id})
    await put(alice, room_id, "m.room.canonical_alias", {"alias": "#bridge:localhost"})
    await set_up(bob, gateway)
    await say(alice, room_id, "hello")
    (told,) = await gateway.until(1)
    assert (told["room_name"], told["room_alias"]) == ("#bridge:localhost", "#bridge:localhost")


async def test_invitations_and_order(server: RunningServer, gateway: Gateway) -> None:
    alice, bob, room_id = await pair(server)
    await set_up(bob, gateway)
    other = await create(alice, preset="private_chat", invite=[bob.user_id])
    (told,) = await gateway.until(1)
    assert (told["room_id"], told["type"], told["user_is_target"]) == (other, "m.room.member", True)
    assert told["membership"] == "invite"
    events = [await say(alice, room_id, str(n)) for n in range(30)]
    await gateway.until(31)
    assert gateway.event_ids[1:] == events


async def test_who_has_read_is_told_the_count_only(server: RunningServer, gateway: Gateway) -> None:
    alice, bob, room_id = await pair(server)
    await set_up(bob, gateway)
    event_id = await say(alice, room_id, "hello")
    await gateway.until(1)
    await read(bob, room_id, event_id, "m.read.private")
    told = (await gateway.until(2))[1]
    assert told["counts"] == {"unread": 0}  # said, so that the badge goes
    assert "event_id" not in told


async def test_nothing_is_lost_over_a_restart(pg_url: str, tmp_path: Path, gateway: Gateway) -> None:
    config = plain_config(tmp_path, push=LOCAL)
    async with running(pg_url, config) as server:
        alice, bob, room_id = await pair(server)
        await set_up(bob, gateway)
        gateway.hold = asyncio.Event()  # the gateway does not answer: what it has heard of counts for nothing
        events = [await say(alice, room_id, str(n)) for n in range(3)]
        await gateway.until(1)
    gateway.hold.set()
    gateway.hold = None
    gateway.told.clear()
    async with running(pg_url, config) as server:
        await gateway.until(3)
        assert gateway.event_ids == events
        alice.url, bob.url, alice.http, bob.http = server.url, server.url, server.http, server.http
        await say(alice, room_id, "last")
        await gateway.until(4)
    gateway.told.clear()
    async with running(pg_url, config) as server:
        alice.url, alice.http = server.url, server.http
        newest = await say(alice, room_id, "newest")
        await gateway.until(1)
        assert gateway.event_ids == [newest]  # nothing is told twice after a clean stop


async def test_a_failing_gateway_is_tried_again_and_told_nothing_that_was_read(
    server: RunningServer, gateway: Gateway
) -> None:
    alice, bob, room_id = await pair(server)
    await set_up(bob, gateway)
    gateway.status = 502
    first = await say(alice, room_id, "first")
    await gateway.until(1)
    second = await say(alice, room_id, "second")
    await read(bob, room_id, first)
    gateway.status = 200
    await gateway.until(2)
    assert gateway.event_ids == [first, second]


async def test_what_a_gateway_refuses_is_given_up(server: RunningServer, gateway: Gateway) -> None:
    alice, bob, room_id = await pair(server)
    await set_up(bob, gateway)
    gateway.status = 400
    events = [await say(alice, room_id, "first")]
    await gateway.until(1)
    gateway.status = 200
    events.append(await say(alice, room_id, "second"))
    await gateway.until(2)
    assert gateway.event_ids == events


async def test_rejected_keys_are_forgotten(server: RunningServer, gateway: Gateway) -> None:
    alice, bob, room_id = await pair(server)
    await set_up(bob, gateway, "bad")
    await set_up(bob, gateway, "good")
    gateway.rejected = ["bad"]
    await say(alice, room_id, "hello")
    await gateway.until(2)
    await say(alice, room_id, "again")
    await gateway.until(3)
    left = (await bob.get("/v3/pushers"))["pushers"]
    assert [one["pushkey"] for one in left] == ["good"]
    assert gateway.told[2]["devices"][0]["pushkey"] == "good"


async def test_private_networks_are_not_asked(pg_url: str, tmp_path: Path, gateway: Gateway) -> None:
    async with running(pg_url, plain_config(tmp_path)) as server:
        alice, bob, room_id = await pair(server)
        await set_up(bob, gateway)
        await say(alice, room_id, "hello")
        async with asyncio.timeout(10):
            while not await _failure(server):
                await say(alice, room_id, "more")
        assert "push.allowed_networks" in await _failure(server)
    assert gateway.told == []


async def _failure(server: RunningServer) -> str:
    async with server.database.read() as conn:
        return await conn.fetchval("SELECT coalesce(max(last_error), '') FROM pushers") or ""


async def test_who_may_not_be_asked_is_not(server: RunningServer, gateway: Gateway) -> None:
    """Silent: own messages, muted rooms, ignored users, rooms that were left."""
    alice, bob, room_id = await pair(server)
    await set_up(bob, gateway)
    await say(bob, room_id, "mine")
    await bob.put(f"/v3/pushrules/global/room/{segment(room_id)}", {"actions": []})
    await say(alice, room_id, "muted")
    await bob.delete(f"/v3/pushrules/global/room/{segment(room_id)}")
    ignored = f"/v3/user/{bob.user_id}/account_data/m.ignored_user_list"
    await bob.put(ignored, {"ignored_users": {alice.user_id: {}}})
    await say(alice, room_id, "ignored")
    carol = await server.register("carol")
    await carol.post(f"/v3/join/{segment(room_id)}")
    last = await say(carol, room_id, "heard")
    await gateway.until(1)
    assert gateway.event_ids == [last]
