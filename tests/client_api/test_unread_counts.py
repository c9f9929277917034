"""Messages that are unread without notifying, where a server counts them [MSC2625]."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from homeserver.app.config_experimental import Experimental
from homeserver.core.push.counts import UNREAD_COUNT
from homeserver.core.push.evaluate import MARK_UNREAD
from tests.client_api.test_push_counts import mention, read
from tests.kit.server import Client, RunningServer, plain_config, running, segment
from tests.kit.sync_calls import pair, say, section, sync

RULE = "/v3/pushrules/global/content/quiet"
THREADS = {"room": {"timeline": {"unread_thread_notifications": True}}}


@pytest.fixture
async def counting(pg_url: str, tmp_path: Path) -> AsyncIterator[RunningServer]:
    config = plain_config(tmp_path, experimental=Experimental(unread_counts=True))
    async with running(pg_url, config) as server:
        yield server


async def told(client: Client, room_id: str, since: str | None = None) -> tuple[int, int, int]:
    """(notifications, highlights, unread)."""
    found = section(await sync(client, since), room_id)["unread_notifications"]
    return found["notification_count"], found["highlight_count"], found[UNREAD_COUNT]


async def test_what_is_marked_is_unread_and_does_not_notify(counting: RunningServer) -> None:
    alice, bob, room_id = await pair(counting)
    await bob.put(RULE, {"pattern": "quiet*", "actions": [MARK_UNREAD, {"set_tweak": "highlight"}]})
    assert await told(bob, room_id) == (0, 0, 0)
    await say(alice, room_id, "loud")
    assert await told(bob, room_id) == (1, 0, 1)  # what notifies is unread
    event_id = await say(alice, room_id, "quiet one")
    await say(alice, room_id, "quiet two")
    assert await told(bob, room_id) == (1, 0, 3)
    await say(alice, room_id, "quiet three", **mention(bob))
    assert await told(bob, room_id) == (2, 1, 4)
    bodies = [
        one["event"]["content"]["body"] for one in (await bob.get("/v3/notifications"))["notifications"]
    ]
    assert bodies == ["quiet three", "loud"]
    await read(bob, room_id, event_id)
    assert await told(bob, room_id) == (1, 1, 2)
    await alice.put(f"/v3/rooms/{segment(room_id)}/redact/{segment(await say(alice, room_id, 'quiet'))}/1")
    assert await told(bob, room_id) == (1, 1, 2)
    await say(bob, room_id, "sending is reading")
    assert await told(bob, room_id) == (0, 0, 0)
    assert await told(alice, room_id) == (1, 0, 1)


async def test_the_count_comes_with_the_event(counting: RunningServer) -> None:
    alice, bob, room_id = await pair(counting)
    await bob.put(RULE, {"pattern": "quiet", "actions": [MARK_UNREAD]})
    since = (await sync(bob))["next_batch"]
    for number, (body, notifications) in enumerate(
        [("quiet", 0), ("x", 1), ("quiet two", 1), ("so quiet", 1)], 1
    ):
        await say(alice, room_id, body)
        answer = await sync(bob, since, timeout=10_000)
        since = answer["next_batch"]
        found = section(answer, room_id)["unread_notifications"]
        assert (found["notification_count"], found[UNREAD_COUNT]) == (notifications, number)


async def test_threads_are_counted_apart(counting: RunningServer) -> None:
    alice, bob, room_id = await pair(counting)
    await bob.put(RULE, {"pattern": "quiet", "actions": [MARK_UNREAD]})
    root = await say(alice, room_id, "root")
    for body in ("quiet", "loud"):
        await say(alice, room_id, body, **{"m.relates_to": {"rel_type": "m.thread", "event_id": root}})
    room = section(await sync(bob, None, THREADS), room_id)
    assert room["unread_notifications"][UNREAD_COUNT] == 1
    assert room["unread_thread_notifications"] == {
        root: {"notification_count": 1, "highlight_count": 0, UNREAD_COUNT: 2}
    }


async def test_what_was_marked_is_nothing_once_it_is_no_longer_counted(pg_url: str, tmp_path: Path) -> None:
    config = plain_config(tmp_path, experimental=Experimental(unread_counts=True))
    async with running(pg_url, config) as server:
        alice, bob, room_id = await pair(server)
        await bob.put(RULE, {"pattern": "quiet", "actions": [MARK_UNREAD]})
        await say(alice, room_id, "quiet")
        assert await told(bob, room_id) == (0, 0, 1)
    async with running(pg_url, plain_config(tmp_path)) as server:
        again = Client(server.url, server.http, bob.user_id, bob.device_id, bob.token)
        room = section(await sync(again, None, THREADS), room_id)
        assert room["unread_notifications"] == {"notification_count": 0, "highlight_count": 0}
        assert room["unread_thread_notifications"] == {}
        assert (await again.get(RULE))["actions"] == [MARK_UNREAD]
