"""Stories of /sync about what is no event of a room's timeline: typing, receipts, account data, presence."""

from typing import Any

import pytest

from tests.kit.server import RunningServer, segment
from tests.kit.sync_calls import bodies, create, news, pair, put, say, section, sync


async def test_typing_receipts_and_markers(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    event_id = await say(alice, room_id, "hello")
    since = (await sync(bob))["next_batch"]
    path = f"/v3/rooms/{segment(room_id)}"
    await alice.put(f"{path}/typing/{segment(alice.user_id)}", {"typing": True, "timeout": 30_000})
    told = await news(bob, since, room_id)
    assert section(told, room_id)["ephemeral"]["events"] == [
        {"type": "m.typing", "content": {"user_ids": [alice.user_id]}}
    ]
    await alice.put(f"{path}/typing/{segment(alice.user_id)}", {"typing": False})
    told = await news(bob, told["next_batch"], room_id)
    assert section(told, room_id)["ephemeral"]["events"] == [
        {"type": "m.typing", "content": {"user_ids": []}}
    ]
    await alice.post(f"{path}/receipt/m.read/{segment(event_id)}", {"thread_id": "main"})
    told = await news(bob, told["next_batch"], room_id)
    (receipt,) = section(told, room_id)["ephemeral"]["events"]
    assert receipt["content"][event_id]["m.read"][alice.user_id]["thread_id"] == "main"
    await bob.post(f"{path}/read_markers", {"m.fully_read": event_id, "m.read.private": event_id})
    told = await sync(bob)
    room = section(told, room_id)
    assert room["account_data"]["events"] == [{"type": "m.fully_read", "content": {"event_id": event_id}}]
    passing = {event["type"]: event["content"] for event in room["ephemeral"]["events"]}
    assert passing["m.typing"] == {"user_ids": []}  # also to who begins anew, and may have shown them before
    receipts = set(passing["m.receipt"][event_id])
    assert receipts == {"m.read", "m.read.private"}
    others = section(await sync(alice), room_id)["ephemeral"]["events"]
    receipts = {kind for event in others for kind in event["content"].get(event_id, ())}
    assert receipts == {"m.read"}


async def test_typing_ends_by_itself(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    since = (await sync(bob))["next_batch"]
    path = f"/v3/rooms/{segment(room_id)}/typing/{segment(alice.user_id)}"
    await alice.put(path, {"typing": True, "timeout": 50})
    told = await news(bob, since, room_id)
    while section(told, room_id)["ephemeral"]["events"][0]["content"]["user_ids"]:
        told = await news(bob, told["next_batch"], room_id)


@pytest.mark.parametrize(
    ("method", "path", "body", "refusal"),
    [
        ("PUT", "typing/{alice}", {"typing": True}, (403, "M_FORBIDDEN")),
        ("PUT", "typing/{bob}", {"typing": True, "timeout": -5}, (400, "M_INVALID_PARAM")),
        ("PUT", "typing/{bob}", {}, (400, "M_MISSING_PARAM")),
        ("PUT", "typing/{bob}", {"typing": "yes"}, (400, "M_BAD_JSON")),
        ("POST", "receipt/m.unknown/$x", {}, (400, "M_INVALID_PARAM")),
        ("POST", "receipt/m.read/$x", {"thread_id": ""}, (400, "M_INVALID_PARAM")),
        ("POST", "receipt/m.read/$x", {"thread_id": 5}, (400, "M_INVALID_PARAM")),
        ("POST", "receipt/m.fully_read/$x", {"thread_id": "main"}, (400, "M_INVALID_PARAM")),
        ("POST", "read_markers", {"m.read": 5}, (400, "M_INVALID_PARAM")),
    ],
)
async def test_what_is_refused(
    server: RunningServer, method: str, path: str, body: Any, refusal: tuple[int, str]
) -> None:
    alice, bob, room_id = await pair(server)
    full = path.format(alice=segment(alice.user_id), bob=segment(bob.user_id))
    assert await bob.refused(method, f"/v3/rooms/{segment(room_id)}/{full}", body) == refusal


async def test_a_receipt_must_fit_its_thread(server: RunningServer) -> None:
    alice, _, room_id = await pair(server)
    root, other = await say(alice, room_id, "root"), await say(alice, room_id, "other")
    reply = await say(alice, room_id, "reply", **{"m.relates_to": {"rel_type": "m.thread", "event_id": root}})
    path = f"/v3/rooms/{segment(room_id)}/receipt/m.read"
    await alice.post(f"{path}/{segment(reply)}", {"thread_id": root})
    refused = await alice.refused("POST", f"{path}/{segment(other)}", {"thread_id": root})
    assert refused == (400, "M_INVALID_PARAM")


async def test_receipts_only_move_forward(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    first, second = await say(alice, room_id, "one"), await say(alice, room_id, "two")
    path = f"/v3/rooms/{segment(room_id)}/receipt/m.read"
    await bob.post(f"{path}/{segment(second)}")
    await bob.post(f"{path}/{segment(first)}")
    (receipt,) = section(await sync(alice), room_id)["ephemeral"]["events"]
    assert receipt["content"].keys() == {second}


async def test_strangers_do_not_type_or_read(server: RunningServer) -> None:
    _, _, room_id = await pair(server)
    eve = await server.register("eve")
    path = f"/v3/rooms/{segment(room_id)}"
    typing = await eve.refused("PUT", f"{path}/typing/{segment(eve.user_id)}", {"typing": True})
    assert typing == (403, "M_FORBIDDEN")
    assert await eve.refused("POST", f"{path}/receipt/m.read/$x", {}) == (403, "M_FORBIDDEN")


async def test_account_data_and_push_rules(server: RunningServer) -> None:
    alice, _, room_id = await pair(server)
    first = await sync(alice)
    assert [event["type"] for event in first["account_data"]["events"]] == ["m.push_rules"]
    user = f"/v3/user/{segment(alice.user_id)}"
    await alice.put(f"{user}/account_data/m.direct", {"a": ["b"]})
    await alice.put(f"{user}/rooms/{segment(room_id)}/tags/u.x", {"order": 0.5})
    answer = await news(alice, first["next_batch"], room_id)
    assert section(answer, room_id)["account_data"]["events"] == [
        {"type": "m.tag", "content": {"tags": {"u.x": {"order": 0.5}}}}
    ]
    fresh = await sync(alice, None, {"account_data": {"types": ["m.dir*"]}})
    assert [event["type"] for event in fresh["account_data"]["events"]] == ["m.direct"]


async def test_ignored_users_are_not_heard(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    since = (await sync(bob))["next_batch"]
    ignored: dict[str, Any] = {"ignored_users": {alice.user_id: {}}}
    await bob.put(f"/v3/user/{segment(bob.user_id)}/account_data/m.ignored_user_list", ignored)
    await say(alice, room_id, "not heard")
    await put(alice, room_id, "m.room.topic", {"topic": "seen"})
    quiet_room = await create(alice, preset="private_chat", invite=[bob.user_id])
    answer = await sync(bob, since)
    room = section(answer, room_id)
    assert [event["type"] for event in room["timeline"]["events"]] == ["m.room.topic"]
    assert quiet_room not in answer["rooms"].get("invite", {})
    since = answer["next_batch"]
    await say(alice, room_id, "still not heard")
    answer = await sync(bob, since)
    assert "rooms" not in answer or not bodies(section(answer, room_id))


async def test_presence_of_those_who_share_a_room(server: RunningServer) -> None:
    alice, bob, _ = await pair(server)
    eve = await server.register("eve")
    since = (await sync(bob, set_presence="offline"))["next_batch"]
    path = f"/v3/presence/{segment(alice.user_id)}/status"
    await alice.put(path, {"presence": "unavailable", "status_msg": "lunch"})
    while True:
        answer = await sync(bob, since, timeout=10_000, set_presence="offline")
        since = answer["next_batch"]
        told = {event["sender"]: event["content"] for event in answer["presence"]["events"]}
        if told.get(alice.user_id, {}).get("status_msg") == "lunch":
            break
    assert (await bob.get(path))["presence"] == "unavailable"
    assert await eve.refused("GET", path) == (403, "M_FORBIDDEN")
    assert await bob.refused("PUT", path, {"presence": "online"}) == (403, "M_FORBIDDEN")
    assert await alice.refused("PUT", path, {"presence": "dancing"}) == (400, "M_INVALID_PARAM")
    assert "presence" not in await sync(eve, (await sync(eve, set_presence="offline"))["next_batch"])


async def test_who_leaves_stops_typing(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    await bob.put(f"/v3/rooms/{segment(room_id)}/typing/{segment(bob.user_id)}", {"typing": True})
    since = (await sync(alice, set_presence="offline"))["next_batch"]
    await bob.post(f"/v3/rooms/{segment(room_id)}/leave")
    while True:
        answer = await news(alice, since, room_id, set_presence="offline")
        since = answer["next_batch"]
        events = section(answer, room_id).get("ephemeral", {}).get("events", [])
        if any(event["type"] == "m.typing" for event in events):
            break
    assert [event["content"] for event in events if event["type"] == "m.typing"] == [{"user_ids": []}]


async def test_who_enters_sees_and_is_seen_at_once(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await create(alice, preset="public_chat")
    before = {client: (await sync(client))["next_batch"] for client in (alice, bob)}
    before[alice] = (await sync(alice, before[alice]))["next_batch"]
    await bob.post(f"/v3/join/{segment(room_id)}")
    for client, other in ((bob, alice), (alice, bob)):
        told = await sync(client, before[client])
        states = {event["sender"]: event["content"]["presence"] for event in told["presence"]["events"]}
        assert states[other.user_id] == "online"


async def test_one_device_has_one_presence_however_it_asks(server: RunningServer) -> None:
    alice, bob, _ = await pair(server)
    await alice.get("/v3/events")
    since = (await sync(bob))["next_batch"]

    async def seen(state: str) -> None:
        nonlocal since
        while True:
            told = await sync(bob, since, timeout=10_000)
            since = told["next_batch"]
            events = told.get("presence", {}).get("events", [])
            if state in [one["content"]["presence"] for one in events if one["sender"] == alice.user_id]:
                return

    path = f"/v3/presence/{segment(alice.user_id)}/status"
    await alice.put(path, {"presence": "unavailable"})
    await seen("unavailable")
    await alice.put(path, {"presence": "online"})
    await seen("online")
    await sync(alice, set_presence="unavailable")
    await seen("unavailable")


async def test_who_was_never_there_is_offline(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await create(alice, preset="public_chat")
    since = (await sync(bob, set_presence="offline"))["next_batch"]
    await bob.post(f"/v3/join/{segment(room_id)}")
    told = (await sync(bob, since, set_presence="offline"))["presence"]["events"]
    assert {"type": "m.presence", "sender": alice.user_id, "content": {"presence": "offline"}} in told
