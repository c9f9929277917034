"""Messages that name their end are shown without their content once it has come [MSC2228]."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from homeserver.app import foundation
from homeserver.app.config_experimental import Experimental
from tests.client_api.test_search import found
from tests.kit.server import Client, RunningServer, plain_config, running, segment
from tests.kit.sync_calls import bodies, news, pair, put, say, section, sync

AFTER = "org.matrix.self_destruct_after"
LONG_AGO, FAR = 1_600_000_000_000, 4_000_000_000_000


@pytest.fixture
async def heeding(pg_url: str, tmp_path: Path) -> AsyncIterator[RunningServer]:
    config = plain_config(tmp_path, experimental=Experimental(expiring_messages=True))
    async with running(pg_url, config) as server:
        yield server


async def shown(client: Client, room_id: str, event_id: str) -> list[dict[str, Any]]:
    """What each way of reading tells of an event's content."""
    room = f"/v3/rooms/{segment(room_id)}"
    answer = await sync(client)
    page = await client.get(f"{room}/messages", dir="b", limit=20)
    told = [*section(answer, room_id)["timeline"]["events"], *page["chunk"]]
    told += [
        (await client.get(f"{room}/context/{segment(event_id)}"))["event"],
        await client.get(f"{room}/event/{segment(event_id)}"),
    ]
    found = [event["content"] for event in told if event["event_id"] == event_id]
    assert len(found) == 4
    return found


async def test_a_message_ends_everywhere(heeding: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob, room_id = await pair(heeding)
    event_id = await say(alice, room_id, "fleeting", **{AFTER: FAR})
    await say(alice, room_id, "lasting")
    whole = {"msgtype": "m.text", "body": "fleeting", AFTER: FAR}
    assert await shown(bob, room_id, event_id) == [whole] * 4
    assert await found(bob, "fleeting") == ["fleeting"]
    monkeypatch.setattr(foundation, "now_ms", lambda: FAR)
    for client in (alice, bob):
        assert await shown(client, room_id, event_id) == [{}] * 4
    assert await found(bob, "fleeting") == []
    assert await found(bob, "lasting") == ["lasting"]


async def test_who_waits_is_not_shown_what_is_over(heeding: RunningServer) -> None:
    """Also where answers are made from memory."""
    alice, bob, room_id = await pair(heeding)
    since = (await sync(bob))["next_batch"]
    await say(alice, room_id, "late", **{AFTER: LONG_AGO})
    answer = await news(bob, since, room_id)
    assert [event["content"] for event in section(answer, room_id)["timeline"]["events"]] == [{}]
    await say(alice, room_id, "fleeting", **{AFTER: FAR})
    answer = await news(bob, answer["next_batch"], room_id)
    assert bodies(section(answer, room_id)) == ["fleeting"]


@pytest.mark.parametrize("end", ["1600000000000", True, None, -1.5])
async def test_only_a_point_in_time_is_an_end(heeding: RunningServer, end: object) -> None:
    alice, bob, room_id = await pair(heeding)
    path = f"/v3/rooms/{segment(room_id)}/send/m.room.message/1"
    answer = await alice.ask("PUT", path, {"msgtype": "m.text", "body": "hello", AFTER: end})
    if answer.status == 200:  # else the number was no legal one
        content = (await shown(bob, room_id, answer.json["event_id"]))[0]
        assert content["body"] == "hello"


async def test_state_stays(heeding: RunningServer) -> None:
    alice, bob, room_id = await pair(heeding)
    await put(alice, room_id, "m.room.topic", {"topic": "what is", AFTER: LONG_AGO})
    path = f"/v3/rooms/{segment(room_id)}/state/m.room.topic"
    assert (await bob.get(path))["topic"] == "what is"


async def test_not_unless_the_operator_wants_it(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    event_id = await say(alice, room_id, "over", **{AFTER: LONG_AGO})
    assert [content["body"] for content in await shown(bob, room_id, event_id)] == ["over"] * 4
    assert await found(bob, "over") == ["over"]
