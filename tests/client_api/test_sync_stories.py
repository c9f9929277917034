"""Stories of /sync over HTTP [cs "Syncing"]."""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from tests.kit.server import Client, RunningServer, segment

Section = Mapping[str, Any]


async def create(client: Client, **options: object) -> str:
    body = {"preset": "public_chat", **options}
    return str((await client.post("/v3/createRoom", body))["room_id"])


async def join(client: Client, room_id: str) -> None:
    await client.post(f"/v3/join/{segment(room_id)}")


async def say(client: Client, room_id: str, body: str, **more: object) -> str:
    path = f"/v3/rooms/{segment(room_id)}/send/m.room.message/{body}"
    return str((await client.put(path, {"msgtype": "m.text", "body": body, **more}))["event_id"])


async def put(client: Client, room_id: str, kind: str, content: object, key: str = "") -> str:
    path = f"/v3/rooms/{segment(room_id)}/state/{kind}/{segment(key)}"
    return str((await client.put(path, content))["event_id"])


async def news(client: Client, since: str, room_id: str, part: str = "join", **query: object) -> Any:
    """The next answer that tells something of a room; presence may come first."""
    while True:
        answer = await client.get("/v3/sync", since=since, timeout=10_000, **query)
        if room_id in answer.get("rooms", {}).get(part, {}):
            return answer
        since = answer["next_batch"]


async def sync(client: Client, since: str | None = None, wanted: object = None, **query: object) -> Any:
    text = None if wanted is None else orjson.dumps(wanted).decode()
    return await client.get("/v3/sync", since=since, filter=text, **query)


def section(answer: Any, room_id: str, part: str = "join") -> Section:
    found: Section = answer["rooms"][part][room_id]
    return found


def bodies(room: Section) -> list[str]:
    return [event["content"]["body"] for event in room["timeline"]["events"] if "body" in event["content"]]


def state(room: Section, name: str = "state") -> dict[tuple[str, str], Any]:
    return {(event["type"], event["state_key"]): event["content"] for event in room[name]["events"]}


async def pair(server: RunningServer) -> tuple[Client, Client, str]:
    """Alice and Bob in a public room."""
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    return alice, bob, room_id


async def test_a_message_arrives_in_a_waiting_sync(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    first = await sync(bob)
    room = section(first, room_id)
    assert room["timeline"]["events"][-1]["type"] == "m.room.member"
    timeline = {(event["type"], event.get("state_key")) for event in room["timeline"]["events"]}
    assert ("m.room.create", "") in state(room).keys() | timeline
    assert room["summary"] == {
        "m.heroes": [alice.user_id],
        "m.joined_member_count": 2,
        "m.invited_member_count": 0,
    }
    waiting = asyncio.ensure_future(news(bob, first["next_batch"], room_id))
    event_id = await say(alice, room_id, "hello")
    answer = await waiting
    told = section(answer, room_id)["timeline"]
    assert [event["event_id"] for event in told["events"]] == [event_id]
    assert told["limited"] is False
    assert told["events"][0]["unsigned"]["membership"] == "join"
    assert "transaction_id" not in told["events"][0]["unsigned"]
    assert "room_id" not in told["events"][0]
    quiet = await sync(bob, answer["next_batch"])
    assert quiet.keys() == {"next_batch", "device_one_time_keys_count", "device_unused_fallback_key_types"}


async def test_only_the_sending_device_learns_its_transaction_id(server: RunningServer) -> None:
    alice, _, room_id = await pair(server)
    other = await server.login(alice.user_id)
    since = [(await sync(client))["next_batch"] for client in (alice, other)]
    await say(alice, room_id, "m1")
    told = [
        section(await news(client, token, room_id), room_id)["timeline"]["events"][0]["unsigned"]
        for client, token in zip((alice, other), since, strict=True)
    ]
    assert told[0]["transaction_id"] == "m1"
    assert "transaction_id" not in told[1]


@pytest.mark.parametrize(
    ("parameter", "name"),
    [
        ("use_state_after", "state_after"),
        ("org.matrix.msc4222.use_state_after", "org.matrix.msc4222.state_after"),
        (None, "state"),
    ],
)
async def test_a_gap_is_told_with_the_state_across_it(
    server: RunningServer, parameter: str | None, name: str
) -> None:
    alice, bob, room_id = await pair(server)
    since = (await sync(bob))["next_batch"]
    await put(alice, room_id, "m.room.topic", {"topic": "old"})
    for number in range(5):
        await say(alice, room_id, f"m{number}")
    await put(alice, room_id, "m.room.topic", {"topic": "new"})
    wanted = {"room": {"timeline": {"limit": 2}}}
    more = {} if parameter is None else {parameter: "true"}
    room = section(await sync(bob, since, wanted, **more), room_id)
    assert room["timeline"]["limited"] is True
    assert [event["type"] for event in room["timeline"]["events"]] == ["m.room.message", "m.room.topic"]
    before = "old" if parameter is None else "new"
    assert state(room, name) == {("m.room.topic", ""): {"topic": before}}
    assert {"state", "state_after", "org.matrix.msc4222.state_after"} & room.keys() == {name}
    page = await bob.get(
        f"/v3/rooms/{segment(room_id)}/messages",
        dir="b",
        to=since,
        **{"from": room["timeline"]["prev_batch"]},
    )
    assert [event["content"].get("body") for event in page["chunk"]] == ["m3", "m2", "m1", "m0", None]


async def test_state_that_a_filter_drops_from_the_timeline_is_told_beside_it(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    wanted = {"room": {"timeline": {"types": ["m.room.message"]}}}
    first = await sync(bob, None, wanted)
    assert section(first, room_id)["timeline"]["events"] == []
    await put(alice, room_id, "m.room.topic", {"topic": "news"})
    await say(alice, room_id, "hello")
    room = section(await sync(bob, first["next_batch"], wanted), room_id)
    assert bodies(room) == ["hello"]
    assert state(room) == {("m.room.topic", ""): {"topic": "news"}}


async def test_full_state(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    since = (await sync(bob))["next_batch"]
    await say(alice, room_id, "hello")
    room = section(await sync(bob, since, full_state="true", timeout=10_000), room_id)
    assert bodies(room) == ["hello"]
    assert ("m.room.create", "") in state(room)
    again = section(await sync(bob, since, full_state="true"), room_id)
    assert ("m.room.member", bob.user_id) in state(again)


async def test_invitation_join_and_kick(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    since = (await sync(bob))["next_batch"]
    room_id = await create(alice, preset="private_chat", name="Den", invite=[bob.user_id])
    invited = await news(bob, since, room_id, "invite")
    stripped = {
        event["type"]: event for event in section(invited, room_id, "invite")["invite_state"]["events"]
    }
    assert stripped["m.room.name"]["content"] == {"name": "Den"}
    assert stripped["m.room.member"]["content"]["membership"] == "invite"
    assert room_id in (await sync(bob))["rooms"]["invite"]
    await join(bob, room_id)
    joined = await news(bob, invited["next_batch"], room_id)
    room = section(joined, room_id)
    timeline = {(event["type"], event.get("state_key")) for event in room["timeline"]["events"]}
    assert ("m.room.create", "") in state(room).keys() | timeline
    assert room["timeline"]["limited"] is True
    await say(alice, room_id, "before")
    await alice.post(f"/v3/rooms/{segment(room_id)}/kick", {"user_id": bob.user_id, "reason": "away"})
    await say(alice, room_id, "after")
    kicked = await sync(bob, joined["next_batch"])
    assert "join" not in kicked["rooms"]
    room = section(kicked, room_id, "leave")
    assert [event["type"] for event in room["timeline"]["events"]] == ["m.room.message", "m.room.member"]
    assert room["timeline"]["events"][-1]["content"]["membership"] == "leave"
    assert "rooms" not in await sync(bob, kicked["next_batch"])
    assert "rooms" not in await sync(bob)
    kept = await sync(bob, None, {"room": {"include_leave": True}})
    assert bodies(section(kept, room_id, "leave")) == ["before"]


async def test_a_rejected_invitation_is_told_as_left(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    since = (await sync(bob))["next_batch"]
    room_id = await create(alice, preset="private_chat", invite=[bob.user_id])
    invited = await news(bob, since, room_id, "invite")
    await bob.post(f"/v3/rooms/{segment(room_id)}/leave")
    room = section(await news(bob, invited["next_batch"], room_id, "leave"), room_id, "leave")
    assert [event["sender"] for event in room["timeline"]["events"]] == [bob.user_id]
    assert room["state"]["events"] == []


async def test_who_comes_back_starts_anew(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    since = (await sync(bob))["next_batch"]
    await bob.post(f"/v3/rooms/{segment(room_id)}/leave")
    await put(alice, room_id, "m.room.topic", {"topic": "while away"})
    await join(bob, room_id)
    room = section(await sync(bob, since, {"room": {"timeline": {"limit": 1}}}), room_id)
    assert room["timeline"]["limited"] is True
    assert state(room)["m.room.topic", ""] == {"topic": "while away"}
    assert ("m.room.create", "") in state(room)


async def test_history_from_before_the_join_is_hidden(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    visibility = {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}
    room_id = await create(alice, initial_state=[visibility])
    await say(alice, room_id, "secret")
    await join(bob, room_id)
    await say(alice, room_id, "welcome")
    room = section(await sync(bob), room_id)
    assert bodies(room) == ["welcome"]
    hidden = {event["type"] for event in room["timeline"]["events"]} & {"m.room.history_visibility"}
    assert room["timeline"]["limited"] is True
    assert hidden == {"m.room.history_visibility"}  # the last that may be seen of before


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
    receipts = {kind for event in room["ephemeral"]["events"] for kind in event["content"][event_id]}
    assert receipts == {"m.read", "m.read.private"}
    others = section(await sync(alice), room_id)["ephemeral"]["events"]
    assert [kind for event in others for kind in event["content"][event_id]] == ["m.read"]


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


@pytest.mark.parametrize("after", [False, True])
async def test_lazy_members_that_changed_in_a_gap_are_told(server: RunningServer, after: bool) -> None:
    alice, bob, room_id = await pair(server)
    carol, dave = await server.register("carol"), await server.register("dave")
    await put(alice, room_id, "m.room.name", {"name": "Tea"})
    await join(carol, room_id)
    for number in range(3):
        await say(alice, room_id, f"m{number}")
    wanted = {"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 2}}}
    query = {"use_state_after": "true"} if after else {}
    first = await sync(bob, None, wanted, **query)
    await carol.post(f"/v3/rooms/{segment(room_id)}/leave")
    await join(dave, room_id)
    for number in range(3):
        await say(alice, room_id, f"n{number}")
    room = section(await sync(bob, first["next_batch"], wanted, **query), room_id)
    assert room["timeline"]["limited"]
    told = room["state_after" if after else "state"]["events"]
    members = {event["state_key"]: event["content"]["membership"] for event in told}
    assert members == {carol.user_id: "leave", dave.user_id: "join"}


async def test_current_state_is_in_the_timeline_though_it_is_older_than_the_join(
    server: RunningServer,
) -> None:
    alice, bob, room_id = await pair(server)
    carol = await server.register("carol")
    await put(alice, room_id, "m.room.history_visibility", {"history_visibility": "joined"})
    since = (await sync(bob))["next_batch"]
    await bob.post(f"/v3/rooms/{segment(room_id)}/leave")
    await put(alice, room_id, "m.room.topic", {"topic": "replaced"})
    await say(alice, room_id, "not for bob")
    await put(alice, room_id, "m.room.topic", {"topic": "now"})
    await join(carol, room_id)
    await join(bob, room_id)
    timeline = section(await sync(bob, since), room_id)["timeline"]["events"]
    told = [event["content"].get("topic", event["sender"]) for event in timeline]
    assert told[-3:] == ["now", carol.user_id, bob.user_id]
    assert "replaced" not in told
    assert "not for bob" not in [event["content"].get("body") for event in timeline]


async def test_heroes_name_rooms_without_a_name(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    counts = {"m.joined_member_count": 2, "m.invited_member_count": 0}
    since = (await sync(bob))["next_batch"]
    for kind, content, expected in (
        ("m.room.name", {"name": "Tea"}, counts),
        ("m.room.name", {}, {**counts, "m.heroes": [alice.user_id]}),
    ):
        await put(alice, room_id, kind, content)
        answer = await news(bob, since, room_id)
        assert section(answer, room_id)["summary"] == expected
        assert section(await sync(bob), room_id)["summary"] == expected
        since = answer["next_batch"]


async def test_lazy_members_come_with_those_who_speak(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    carol = await server.register("carol")
    await join(carol, room_id)
    for number in range(3):
        await say(alice, room_id, f"m{number}")
    wanted = {"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 2}}}
    first = await sync(bob, None, wanted)
    members = {key for kind, key in state(section(first, room_id)) if kind == "m.room.member"}
    assert {alice.user_id, bob.user_id} <= members  # heroes are told too
    await say(alice, room_id, "again")
    answer = await sync(bob, first["next_batch"], wanted)
    assert state(section(answer, room_id)) == {}
    redundant = {
        "room": {**wanted["room"], "state": {"lazy_load_members": True, "include_redundant_members": True}}
    }
    answer = await sync(bob, first["next_batch"], redundant)
    assert state(section(answer, room_id)).keys() == {("m.room.member", alice.user_id)}


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


async def test_event_fields_and_federation_format(server: RunningServer) -> None:
    _, bob, room_id = await pair(server)
    some = await sync(bob, None, {"event_fields": ["type", "content.membership"]})
    last = section(some, room_id)["timeline"]["events"][-1]
    assert last == {"type": "m.room.member", "content": {"membership": "join"}}
    whole = await sync(bob, None, {"event_format": "federation"})
    assert {"hashes", "event_id"} <= section(whole, room_id)["timeline"]["events"][-1].keys()


async def test_redacted_events_say_why(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    event_id = await say(alice, room_id, "oops")
    path = f"/v3/rooms/{segment(room_id)}/redact/{segment(event_id)}/r1"
    redaction = (await alice.put(path, {"reason": "typo"}))["event_id"]
    events = {event["event_id"]: event for event in section(await sync(bob), room_id)["timeline"]["events"]}
    assert events[event_id]["content"] == {}
    because = events[event_id]["unsigned"]["redacted_because"]
    assert (because["event_id"], because["content"]["redacts"], because["redacts"]) == (
        redaction,
        event_id,
        event_id,
    )


async def test_threads_are_bundled_where_a_timeline_begins(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    root = await say(alice, room_id, "root")
    await say(bob, room_id, "reply", **{"m.relates_to": {"rel_type": "m.thread", "event_id": root}})
    wanted = {"room": {"timeline": {"unread_thread_notifications": True}}}
    room = section(await sync(alice, None, wanted), room_id)
    events = {event["event_id"]: event for event in room["timeline"]["events"]}
    assert events[root]["unsigned"]["m.relations"]["m.thread"]["count"] == 1
    assert room["unread_thread_notifications"] == {root: {"notification_count": 1, "highlight_count": 0}}
    assert room["unread_notifications"] == {"notification_count": 0, "highlight_count": 0}


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ({"since": "x"}, "M_INVALID_PARAM"),
        ({"since": "s-5"}, "M_INVALID_PARAM"),
        ({"timeout": "soon"}, "M_INVALID_PARAM"),
        ({"filter": "{"}, "M_INVALID_PARAM"),
        ({"filter": "999"}, "M_INVALID_PARAM"),
        ({"set_presence": "asleep"}, "M_INVALID_PARAM"),
        ({"full_state": "perhaps"}, "M_INVALID_PARAM"),
    ],
)
async def test_bad_questions(server: RunningServer, query: dict[str, str], errcode: str) -> None:
    alice = await server.register("alice")
    assert await alice.refused("GET", "/v3/sync", **query) == (400, errcode)


async def test_a_token_from_the_future_begins_anew(server: RunningServer) -> None:
    alice, _, room_id = await pair(server)
    assert section(await sync(alice, "s999999"), room_id)["timeline"]["events"]


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
