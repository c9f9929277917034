"""Stories of /sync over HTTP [cs "Syncing"]."""

import asyncio

import pytest

from tests.kit.server import RunningServer, segment
from tests.kit.sync_calls import bodies, create, join, news, pair, put, say, section, state, sync


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


async def test_a_timeline_goes_on_before_what_is_hidden(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    carol = await server.register("carol")
    await put(alice, room_id, "m.room.history_visibility", {"history_visibility": "joined"})
    for number in range(12):
        await say(alice, room_id, f"seen {number}")
    since = (await sync(bob))["next_batch"]
    await bob.post(f"/v3/rooms/{segment(room_id)}/leave")
    await join(carol, room_id)
    for number in range(15):
        await say(alice, room_id, f"hidden {number}")
    await join(bob, room_id)
    ten = {"room": {"timeline": {"limit": 10}}}
    for start in (since, None):
        room = section(await sync(bob, start, ten), room_id)
        timeline = room["timeline"]["events"]
        members = [event["state_key"] for event in timeline if event["type"] == "m.room.member"]
        assert members == [bob.user_id, carol.user_id, bob.user_id]  # left, came, came back
        assert bodies(room) == [f"seen {number}" for number in range(5, 12)]
        assert len(timeline) == 10
        assert room["timeline"]["limited"]
        before = await bob.get(
            f"/v3/rooms/{segment(room_id)}/messages", dir="b", **{"from": room["timeline"]["prev_batch"]}
        )
        assert before["chunk"][0]["content"]["body"] == "seen 4"
    few = section(
        await sync(bob, None, {"room": {"timeline": {"limit": 2, "types": ["m.room.message"]}}}), room_id
    )
    assert bodies(few) == ["seen 10", "seen 11"]


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
