"""Stories of sliding sync over HTTP [MSC4186]."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from attrs import define, field

from tests.client_api.test_sync_stories import create, join, pair, put, say
from tests.kit.server import Client, RunningServer, segment

BEFORE = "/unstable/org.matrix.simplified_msc3575/sync"
NOW = "/v4/sync"
EVERYTHING = {"include": [{}]}


@define
class Connection:
    """A client's connection, in the accepted form or the one before."""

    client: Client
    before: bool = False
    conn_id: str | None = None
    pos: str | None = None
    body: dict[str, Any] = field(factory=dict)

    async def ask(self, timeout: int = 0, pos: str | None = None, **more: Any) -> Any:
        """One request; without lists of its own it repeats the last ones."""
        self.body |= more
        pos = pos or self.pos
        body = {**self.body, **({"conn_id": self.conn_id} if self.conn_id else {})}
        if self.before:
            answer = await self.client.post(BEFORE, body, pos=pos, timeout=timeout)
        else:
            if pos is not None:
                body["pos"] = pos
            answer = await self.client.post(NOW, {**body, "timeout": timeout})
        self.pos = answer["pos"]
        return answer


def window(end: int = 19, limit: int = 1, state: Any = None, **filters: Any) -> dict[str, Any]:
    """One list, of the newest rooms."""
    required = {"include": [{"type": "m.room.name", "state_key": ""}]} if state is None else state
    wish = {"range": [0, end], "timeline_limit": limit, "required_state": required}
    return {"all": {**wish, **({"filters": filters} if filters else {})}}


def bodies(room: Mapping[str, Any]) -> list[Any]:
    return [event["content"].get("body") for event in room["timeline"]]


def keys(room: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(event["type"], event["state_key"]) for event in room.get("required_state", ())}


@pytest.mark.parametrize("before", [True, False])
async def test_a_window_of_rooms_and_what_is_new_in_it(server: RunningServer, before: bool) -> None:
    alice, bob, room_id = await pair(server)
    await put(alice, room_id, "m.room.name", {"name": "Den"})
    await say(alice, room_id, "m1")
    connection = Connection(bob, before)
    first = await connection.ask(lists=window())
    assert first["lists"] == {"all": {"count": 1}}
    room = first["rooms"][room_id]
    assert room["initial"] is True
    assert room["name"] == "Den"
    assert room["joined_count"] == 2
    assert bodies(room) == ["m1"]
    assert room["limited"] is True
    assert room["num_live"] == 0
    assert keys(room) == {("m.room.name", "")}
    assert "heroes" not in room
    assert ("notification_count" in room) is before
    assert room.get("lists") == (None if before else ["all"])
    waiting = asyncio.ensure_future(connection.ask(timeout=10_000))
    await say(alice, room_id, "m2")
    room = (await waiting)["rooms"][room_id]
    assert "initial" not in room
    assert bodies(room) == ["m2"]
    assert room["num_live"] == 1
    assert "name" not in room
    assert "required_state" not in room
    quiet = await connection.ask()
    assert quiet["rooms"] == {}
    page = await bob.get(f"/v3/rooms/{segment(room_id)}/messages", dir="b", **{"from": quiet["pos"]})
    assert page["chunk"][0]["content"]["body"] == "m2"
