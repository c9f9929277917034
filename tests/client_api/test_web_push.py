"""Web push without a gateway: subscribed, activated, told what only the app can read [MSC4174]."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from homeserver.app import config as options
from homeserver.services import pushers as service
from tests.kit.loopback import Authority
from tests.kit.push_service import PushService, WebApp, push_service
from tests.kit.server import Client, RunningServer, plain_config, running
from tests.kit.sync_calls import pair, say

APP = "org.example.web"


@pytest.fixture
async def push(authority: Authority) -> AsyncIterator[PushService]:
    async with push_service(authority) as push:
        yield push


@pytest.fixture
async def server(pg_url: str, tmp_path: Path, authority: Authority) -> AsyncIterator[RunningServer]:
    push = options.Push(allowed_networks=["127.0.0.0/8"], certificate_authorities=str(authority.path))
    async with running(pg_url, plain_config(tmp_path, push=push)) as server:
        yield server


def pusher(push: PushService, **more: Any) -> dict[str, Any]:
    return {
        "kind": "webpush",
        "app_id": APP,
        "pushkey": push.app.public_key,
        "app_display_name": "App",
        "device_display_name": "Browser",
        "lang": "en",
        "data": {"url": push.url, "auth": push.app.auth, "default_payload": {"session": 7}},
        **more,
    }


async def subscribed(client: Client, push: PushService) -> None:
    """A subscription as a browser makes it, activated."""
    push.vapid = (await client.get("/v3/capabilities"))["capabilities"]["m.webpush"]["vapid"]
    answer = await client.ask("POST", "/v3/pushers/set", pusher(push))
    assert answer.status == 201
    told = (await push.until(1))[0]
    assert told["app_id"] == APP
    await client.post("/v3/pushers/ack", told)


async def activated(client: Client) -> list[bool]:
    return [one["activated"] for one in (await client.get("/v3/pushers"))["pushers"]]


async def test_an_app_is_told_what_only_it_can_read(server: RunningServer, push: PushService) -> None:
    alice, bob, room_id = await pair(server)
    await subscribed(bob, push)
    assert await activated(bob) == [True]
    event_id = await say(alice, room_id, "hello")
    told = (await push.until(2))[1]
    assert told["event_id"] == event_id
    assert told["room_id"] == room_id
    assert told["content"]["body"] == "hello"
    assert (told["unread"], told["session"], told["sender"]) == (1, 7, alice.user_id)
    assert not told.keys() & {"devices", "counts", "id"}
    headers = push.headers[1]
    assert headers["Content-Encoding"] == "aes128gcm"
    assert (int(headers["TTL"]) > 0, headers["Urgency"]) == (True, "high")
    await say(alice, room_id, "again")
    assert (await push.until(3))[2]["unread"] == 2


async def test_nothing_is_told_before_the_app_has_answered(server: RunningServer, push: PushService) -> None:
    alice, bob, room_id = await pair(server)
    push.vapid = (await bob.get("/v3/capabilities"))["capabilities"]["org.matrix.msc4174.webpush"]["vapid"]
    await bob.ask("POST", "/v3/pushers/set", pusher(push, kind="org.matrix.msc4174.webpush"))
    ack = (await push.until(1))[0]
    assert await activated(bob) == [False]
    await say(alice, room_id, "too early")
    wrong = {"app_id": APP, "ack_token": "x"}
    assert await bob.refused("POST", "/v3/pushers/ack", wrong) == (400, "M_UNKNOWN_ACTIVATION_TOKEN")
    assert await alice.refused("POST", "/v3/pushers/ack", ack) == (404, "M_NOT_FOUND")
    other = {**ack, "app_id": "org.example.other"}
    assert await bob.refused("POST", "/v3/pushers/ack", other) == (404, "M_NOT_FOUND")
    await bob.post("/unstable/org.matrix.msc4174/pushers/ack", ack)
    assert await bob.refused("POST", "/v3/pushers/ack", ack) == (400, "M_UNKNOWN_ACTIVATION_TOKEN")
    event_id = await say(alice, room_id, "now")
    assert (await push.until(2))[1]["event_id"] == event_id


async def test_a_subscription_is_activated_once(server: RunningServer, push: PushService) -> None:
    bob = await server.register("bob")
    await subscribed(bob, push)
    again = await bob.ask("POST", "/v3/pushers/set", pusher(push, lang="de"))
    assert (again.status, await activated(bob)) == (200, [True])
    data = {"url": push.url, "auth": WebApp().auth}
    moved = await bob.ask("POST", "/v3/pushers/set", pusher(push, data=data))
    assert (moved.status, await activated(bob)) == (201, [False])


async def test_tokens_grow_old(
    server: RunningServer, push: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = await server.register("bob")
    push.vapid = (await bob.get("/v3/capabilities"))["capabilities"]["m.webpush"]["vapid"]
    await bob.ask("POST", "/v3/pushers/set", pusher(push))
    ack = (await push.until(1))[0]
    with monkeypatch.context() as later:
        now = service.now_ms()
        later.setattr(service, "now_ms", lambda: now + service.ACTIVATION_MS + 1)
        assert await bob.refused("POST", "/v3/pushers/ack", ack) == (400, "M_EXPIRED_ACTIVATION_TOKEN")
    assert (await bob.ask("POST", "/v3/pushers/set", pusher(push))).status == 201
    await bob.post("/v3/pushers/ack", (await push.until(2))[1])
    assert await activated(bob) == [True]


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_subscription_that_is_gone_is_forgotten(
    server: RunningServer, push: PushService, status: int
) -> None:
    alice, bob, room_id = await pair(server)
    await subscribed(bob, push)
    push.status = status
    await say(alice, room_id, "hello")
    await push.until_asked(2)
    async with asyncio.timeout(15), server.database.read() as conn:
        while await conn.fetchval("SELECT count(*) FROM pushers"):
            await conn.fetchval("SELECT pg_sleep(0.01)")
    assert await activated(bob) == []


async def test_a_service_that_fails_is_asked_again(server: RunningServer, push: PushService) -> None:
    alice, bob, room_id = await pair(server)
    await subscribed(bob, push)
    push.status = 503
    event_id = await say(alice, room_id, "hello")
    await push.until_asked(2)
    push.status = 201
    assert (await push.until(2))[1]["event_id"] == event_id


async def test_what_is_too_long_is_told_by_its_id(server: RunningServer, push: PushService) -> None:
    alice, bob, room_id = await pair(server)
    await subscribed(bob, push)
    event_id = await say(alice, room_id, "x" * 10_000)
    assert (await push.until(2))[1] == {
        "event_id": event_id,
        "room_id": room_id,
        "prio": "high",
        "unread": 1,
    }


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"data": {}}, (400, "M_MISSING_PARAM")),
        ({"data": {"url": "https://push.example/1"}}, (400, "M_MISSING_PARAM")),
        ({"data": {"url": "https://push.example/1", "auth": "short"}}, (400, "M_INVALID_PARAM")),
        ({"data": {"url": "https://push.example/1", "auth": 7}}, (400, "M_INVALID_PARAM")),
        ({"data": {"url": "http://push.example/1", "auth": WebApp().auth}}, (400, "M_INVALID_PARAM")),
        ({"data": {"url": "ftp://push.example/1", "auth": WebApp().auth}}, (400, "M_INVALID_PARAM")),
        ({"pushkey": "key"}, (400, "M_INVALID_PARAM")),
        ({"pushkey": WebApp().public_key[:-2]}, (400, "M_INVALID_PARAM")),
    ],
)
async def test_what_is_no_subscription(
    server: RunningServer, push: PushService, change: dict[str, Any], refusal: tuple[int, str]
) -> None:
    alice = await server.register("alice")
    assert await alice.refused("POST", "/v3/pushers/set", {**pusher(push), **change}) == refusal
    assert await activated(alice) == []
