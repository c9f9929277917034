"""Rooms over HTTP, told as stories of a few users."""

from urllib.parse import unquote

import orjson
import pytest

from tests.kit.server import Client, RunningServer, segment
from tests.kit.sync_calls import sync


async def create(client: Client, **options: object) -> str:
    """A new room's id as a segment of a path."""
    return segment((await client.post("/v3/createRoom", {"preset": "public_chat", **options}))["room_id"])


async def say(client: Client, room: str, body: str, **more: object) -> str:
    """A message's id."""
    content = {"msgtype": "m.text", "body": body, **more}
    path = f"/v3/rooms/{room}/send/m.room.message/{segment(body)}"
    return (await client.put(path, content))["event_id"]


async def put(client: Client, room: str, kind: str, content: object, key: str = "") -> str:
    """A state event's id."""
    return (await client.put(f"/v3/rooms/{room}/state/{kind}/{segment(key)}", content))["event_id"]


def bodies(events: list[dict]) -> list[str]:
    """What messages say."""
    return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


async def test_two_users_meet(server: RunningServer) -> None:
    alice, bob = await server.register(), await server.register()
    room = await create(alice, preset="private_chat", name="Tea")
    assert await bob.refused("POST", f"/v3/rooms/{room}/join", {}) == (403, "M_FORBIDDEN")
    await alice.post(f"/v3/rooms/{room}/invite", {"user_id": bob.user_id})
    await bob.post(f"/v3/rooms/{room}/join")
    sent = await bob.put(f"/v3/rooms/{room}/send/m.room.message/t1", {"msgtype": "m.text", "body": "hi"})
    again = await bob.put(f"/v3/rooms/{room}/send/m.room.message/t1", {"msgtype": "m.text", "body": "hi"})
    assert sent == again
    page = await alice.get(f"/v3/rooms/{room}/messages", dir="b", limit=1)
    assert bodies(page["chunk"]) == ["hi"]
    assert "transaction_id" not in page["chunk"][0]["unsigned"]
    event = await bob.get(f"/v3/rooms/{room}/event/{segment(sent['event_id'])}")
    assert event["unsigned"]["transaction_id"] == "t1"
    assert event["unsigned"]["membership"] == "join"


async def test_pages_meet_at_their_ends(server: RunningServer) -> None:
    alice = await server.register()
    room = await create(alice)
    for number in range(7):
        await say(alice, room, str(number))
    seen: list[str] = []
    page = await alice.get(f"/v3/rooms/{room}/messages", dir="b", limit=3)
    while True:
        seen += [event["event_id"] for event in page["chunk"]]
        if "end" not in page:
            break
        page = await alice.get(f"/v3/rooms/{room}/messages", dir="b", limit=3, **{"from": page["end"]})
    forwards = await alice.get(f"/v3/rooms/{room}/messages", dir="f", limit=100)
    assert [event["event_id"] for event in forwards["chunk"]] == seen[::-1]
    assert len(seen) == len(set(seen)) == 5 + 7
    later = await alice.get(f"/v3/rooms/{room}/messages", dir="f", **{"from": forwards["end"]})
    assert later["chunk"] == []
    await say(alice, room, "late")
    later = await alice.get(f"/v3/rooms/{room}/messages", dir="f", **{"from": forwards["end"]})
    assert bodies(later["chunk"]) == ["late"]
    between = await alice.get(
        f"/v3/rooms/{room}/messages", dir="b", to=forwards["end"], **{"from": later["end"]}
    )
    assert bodies(between["chunk"]) == ["late"]
    assert "end" not in between


async def test_a_first_sync_is_short_and_leads_to_what_was_before(server: RunningServer) -> None:
    alice = await server.register()
    room = await create(alice)
    founding = (await sync(alice))["rooms"]["join"][unquote(room)]["timeline"]
    assert [event["type"].removeprefix("m.room.") for event in founding["events"]] == [
        *("create", "member", "power_levels", "join_rules", "history_visibility")
    ]
    for number in range(2):
        await say(alice, room, str(number))
    timeline = (await sync(alice))["rooms"]["join"][unquote(room)]["timeline"]
    assert (len(timeline["events"]), timeline["limited"]) == (6, True)
    path = f"/v3/rooms/{room}/messages"
    lazy = '{"lazy_load_members":true}'
    page = await alice.get(path, dir="b", filter=lazy, **{"from": timeline["prev_batch"]})
    assert [event["type"] for event in page["chunk"]] == ["m.room.create"]
    assert [event["state_key"] for event in page["state"]] == [alice.user_id]  # who entered just after it
    last = await alice.get(path, dir="b", **{"from": page["end"]})
    assert (last["chunk"], "end" in last) == ([], False)
    wanted = {"room": {"timeline": {"limit": 7}}}
    assert len((await sync(alice, wanted=wanted))["rooms"]["join"][unquote(room)]["timeline"]["events"]) == 7


async def test_filters_of_pages(server: RunningServer) -> None:
    alice, bob = await server.register(), await server.register()
    room = await create(alice)
    await bob.post(f"/v3/rooms/{room}/join")
    for number in range(3):
        await say(alice, room, f"a{number}")
        await say(bob, room, f"b{number}")

    async def page(**wanted: object) -> dict:
        text = orjson.dumps(wanted).decode()
        return await alice.get(f"/v3/rooms/{room}/messages", dir="b", limit=2, filter=text)

    assert bodies((await page(types=["m.room.message"]))["chunk"]) == ["b2", "a2"]
    assert bodies((await page(senders=[bob.user_id]))["chunk"]) == ["b2", "b1"]
    assert [event["type"] for event in (await page(not_types=["m.room.m*"]))["chunk"]] == [
        "m.room.history_visibility",
        "m.room.join_rules",
    ]
    lazy = await page(lazy_load_members=True)
    assert {event["state_key"] for event in lazy["state"]} == {alice.user_id, bob.user_id}
    path = f"/v3/rooms/{room}/messages"
    assert await alice.refused("GET", path, dir="b", filter="[]") == (400, "M_BAD_JSON")
    assert await alice.refused("GET", path, dir="b", filter="{") == (400, "M_NOT_JSON")
    assert await alice.refused("GET", path, dir="x") == (400, "M_INVALID_PARAM")
    assert await alice.refused("GET", path, dir="b", **{"from": "x"}) == (400, "M_INVALID_PARAM")


async def test_context(server: RunningServer) -> None:
    alice = await server.register()
    room = await create(alice, name="Tea")
    ids = [await say(alice, room, str(number)) for number in range(5)]
    path = f"/v3/rooms/{room}/context/{segment(ids[2])}"
    found = await alice.get(path, limit=2)
    assert found["event"]["event_id"] == ids[2]
    assert bodies(found["events_before"]) == ["1"]
    assert bodies(found["events_after"]) == ["3"]
    assert "m.room.name" in {event["type"] for event in found["state"]}
    older = await alice.get(f"/v3/rooms/{room}/messages", dir="b", limit=1, **{"from": found["start"]})
    newer = await alice.get(f"/v3/rooms/{room}/messages", dir="f", limit=1, **{"from": found["end"]})
    assert (bodies(older["chunk"]), bodies(newer["chunk"])) == (["0"], ["4"])
    alone = await alice.get(path, limit=0, filter='{"lazy_load_members":true}')
    assert (alone["events_before"], alone["events_after"]) == ([], [])
    assert [event["state_key"] for event in alone["state"]] == [alice.user_id]
    assert await alice.refused("GET", f"/v3/rooms/{room}/context/$none") == (404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    ("visibility", "seen"),
    [
        ("world_readable", ["before", "invited", "during"]),
        ("shared", ["before", "invited", "during"]),
        ("invited", ["invited", "during"]),
        ("joined", ["during"]),
    ],
)
async def test_what_members_may_see(server: RunningServer, visibility: str, seen: list[str]) -> None:
    alice, bob = await server.register(), await server.register()
    hidden = {"type": "m.room.history_visibility", "content": {"history_visibility": visibility}}
    room = await create(alice, initial_state=[hidden])
    ids = {"before": await say(alice, room, "before")}
    await alice.post(f"/v3/rooms/{room}/invite", {"user_id": bob.user_id})
    ids["invited"] = await say(alice, room, "invited")
    await bob.post(f"/v3/rooms/{room}/join")
    ids["during"] = await say(alice, room, "during")
    await bob.post(f"/v3/rooms/{room}/leave")
    await put(alice, room, "m.room.name", {"name": "afterwards"})
    ids["after"] = await say(alice, room, "after")
    if visibility == "world_readable":
        seen = [*seen, "after"]  # to everybody
    page = await bob.get(f"/v3/rooms/{room}/messages", dir="b", limit=50)
    assert bodies(page["chunk"]) == seen[::-1]
    for name, event_id in ids.items():
        answer = await bob.ask("GET", f"/v3/rooms/{room}/event/{segment(event_id)}")
        assert answer.status == (200 if name in seen else 404)
    names = [event["type"] for event in await bob.get(f"/v3/rooms/{room}/state")]
    assert ("m.room.name" in names) == (visibility == "world_readable")
    status = 200 if visibility == "world_readable" else 404
    assert (await bob.ask("GET", f"/v3/rooms/{room}/state/m.room.name")).status == status
    members = await bob.get(f"/v3/rooms/{room}/members", membership="leave")
    assert [event["state_key"] for event in members["chunk"]] == [bob.user_id]


async def test_strangers_see_what_the_world_may_read(server: RunningServer) -> None:
    alice, eve = await server.register(), await server.register()
    shut = await create(alice)
    for path in ("messages?dir=b", "state", "state/m.room.name", "members", "joined_members", "aliases"):
        assert await eve.refused("GET", f"/v3/rooms/{shut}/{path}") == (403, "M_FORBIDDEN"), path
    await put(alice, shut, "m.room.history_visibility", {"history_visibility": "world_readable"})
    await say(alice, shut, "hello world")
    page = await eve.get(f"/v3/rooms/{shut}/messages", dir="b")
    assert bodies(page["chunk"]) == ["hello world"]
    assert await eve.get(f"/v3/rooms/{shut}/state/m.room.join_rules") == {"join_rule": "public"}
    assert await eve.refused("GET", f"/v3/rooms/{shut}/joined_members") == (403, "M_FORBIDDEN")


async def test_forgotten_rooms_are_gone(server: RunningServer) -> None:
    alice, bob = await server.register(), await server.register()
    room = await create(alice)
    await bob.post(f"/v3/rooms/{room}/join")
    assert await bob.refused("POST", f"/v3/rooms/{room}/forget", {}) == (400, "M_UNKNOWN")
    await bob.post(f"/v3/rooms/{room}/leave")
    await bob.post(f"/v3/rooms/{room}/forget")
    assert await bob.refused("GET", f"/v3/rooms/{room}/messages", dir="b") == (403, "M_FORBIDDEN")
    await bob.post(f"/v3/join/{room}")
    await bob.get(f"/v3/rooms/{room}/messages", dir="b")
    assert len((await bob.get("/v3/joined_rooms"))["joined_rooms"]) == 1


async def test_members_at_a_token(server: RunningServer) -> None:
    alice, bob = await server.register(), await server.register()
    room = await create(alice)
    start = (await alice.get(f"/v3/rooms/{room}/messages", dir="b"))["start"]
    await bob.post(f"/v3/rooms/{room}/join")
    now = await alice.get(f"/v3/rooms/{room}/members", not_membership="leave")
    then = await alice.get(f"/v3/rooms/{room}/members", at=start)
    long_ago = await alice.get(f"/v3/rooms/{room}/members", at="s1")
    assert [len(answer["chunk"]) for answer in (now, then, long_ago)] == [2, 1, 2]
    joined = await alice.get(f"/v3/rooms/{room}/joined_members")
    assert set(joined["joined"]) == {alice.user_id, bob.user_id}


async def test_relations_and_what_is_bundled(server: RunningServer) -> None:
    alice, bob = await server.register(), await server.register()
    room = await create(alice)
    await bob.post(f"/v3/rooms/{room}/join")
    root = await say(alice, room, "root")

    def to(rel_type: str, parent: str) -> dict:
        return {"m.relates_to": {"rel_type": rel_type, "event_id": parent}}

    replies = [await say(bob, room, f"reply {n}", **to("m.thread", root)) for n in range(3)]
    edit = {"m.new_content": {"msgtype": "m.text", "body": "better"}}
    await say(bob, room, "forged", **edit, **to("m.replace", root))
    edited = await say(alice, room, "* better", **edit, **to("m.replace", root))
    await say(alice, room, "* no content", **to("m.replace", replies[0]))
    reference = await say(bob, room, "see", **to("m.reference", root))
    nested = await say(alice, room, "see that", **to("m.reference", reference))

    event = await alice.get(f"/v3/rooms/{room}/event/{segment(root)}")
    bundle = event["unsigned"]["m.relations"]
    assert bundle["m.replace"]["event_id"] == edited
    assert bundle["m.reference"] == {"chunk": [{"event_id": reference}]}
    assert bundle["m.thread"]["count"] == 3
    assert bundle["m.thread"]["latest_event"]["event_id"] == replies[-1]
    assert bundle["m.thread"]["current_user_participated"] is True

    path = f"/v1/rooms/{room}/relations/{segment(root)}"
    assert len((await alice.get(path))["chunk"]) == 6
    assert [e["event_id"] for e in (await alice.get(f"{path}/m.thread", dir="f"))["chunk"]] == replies
    assert len((await alice.get(f"{path}/m.thread/m.room.message"))["chunk"]) == 3
    assert (await alice.get(f"{path}/m.thread/m.sticker"))["chunk"] == []
    first = await alice.get(f"{path}/m.thread", limit=2)
    second = await alice.get(f"{path}/m.thread", limit=2, **{"from": first["next_batch"]})
    told = [e["event_id"] for e in first["chunk"] + second["chunk"]]
    assert told == replies[::-1]
    assert "next_batch" not in second
    deep = await alice.get(path, recurse="true")
    assert nested in [e["event_id"] for e in deep["chunk"]]
    assert deep["recursion_depth"] >= 2
    assert await alice.refused("GET", f"/v1/rooms/{room}/relations/$none") == (404, "M_NOT_FOUND")

    await bob.put(f"/v3/rooms/{room}/redact/{segment(replies[-1])}/x", {})
    event = await alice.get(f"/v3/rooms/{room}/event/{segment(root)}")
    assert event["unsigned"]["m.relations"]["m.thread"]["count"] == 2


async def test_threads_of_a_room(server: RunningServer) -> None:
    alice, bob = await server.register(), await server.register()
    room = await create(alice)
    await bob.post(f"/v3/rooms/{room}/join")
    roots = [await say(alice, room, f"root {n}") for n in range(3)]
    for number, root in enumerate(roots):
        relates = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
        await say(bob if number == 1 else alice, room, f"reply {number}", **relates)
    first = await alice.get(f"/v1/rooms/{room}/threads", limit=2)
    assert [event["event_id"] for event in first["chunk"]] == [roots[2], roots[1]]
    assert first["chunk"][0]["unsigned"]["m.relations"]["m.thread"]["count"] == 1
    second = await alice.get(f"/v1/rooms/{room}/threads", limit=2, **{"from": first["next_batch"]})
    assert [event["event_id"] for event in second["chunk"]] == [roots[0]]
    mine = await bob.get(f"/v1/rooms/{room}/threads", include="participated")
    assert [event["event_id"] for event in mine["chunk"]] == [roots[1]]
    assert await bob.refused("GET", f"/v1/rooms/{room}/threads", include="some") == (400, "M_INVALID_PARAM")


async def test_the_event_of_a_time(server: RunningServer) -> None:
    alice = await server.register()
    room = await create(alice)
    said = await say(alice, room, "now")
    path = f"/v1/rooms/{room}/timestamp_to_event"
    last = await alice.get(path, ts=2**52, dir="b")
    assert last["event_id"] == said
    assert await alice.refused("GET", path, ts=2**52, dir="f") == (404, "M_NOT_FOUND")
    assert (await alice.get(path, ts=0, dir="f"))["origin_server_ts"] > 0
    assert await alice.refused("GET", path, dir="f") == (400, "M_MISSING_PARAM")


async def test_redacting_by_either_way(server: RunningServer) -> None:
    alice, bob = await server.register(), await server.register()
    for version in ("10", "11", "12"):
        room = await create(alice, room_version=version)
        await bob.post(f"/v3/rooms/{room}/join")
        first, second = await say(alice, room, "one"), await say(bob, room, "two")
        path = f"/v3/rooms/{room}/redact/{segment(first)}/{version}"
        assert await bob.refused("PUT", path, {}) == (403, "M_FORBIDDEN")
        made = await alice.put(path, {"reason": "no"})
        assert await alice.put(path, {"reason": "no"}) == made
        await bob.put(f"/v3/rooms/{room}/send/m.room.redaction/r", {"redacts": second})
        state = f"/v3/rooms/{room}/state/m.room.redaction"
        assert await alice.refused("PUT", state, {"redacts": second}) == (403, "M_FORBIDDEN")
        gone = await alice.get(f"/v3/rooms/{room}/event/{segment(first)}")
        assert gone["content"] == {}
        assert gone["unsigned"]["redacted_because"]["content"]["reason"] == "no"
        assert (await alice.get(f"/v3/rooms/{room}/event/{segment(second)}"))["content"] == {}
        page = await alice.get(f"/v3/rooms/{room}/messages", dir="b", limit=1)
        assert page["chunk"][0]["redacts"] == page["chunk"][0]["content"]["redacts"] == second


async def test_redactions_stay_in_their_room(server: RunningServer) -> None:
    alice = await server.register()
    room, other = await create(alice), await create(alice)
    said = await say(alice, room, "one")
    path = f"/v3/rooms/{other}/redact/{segment(said)}/1"
    assert await alice.refused("PUT", path, {}) == (400, "M_INVALID_PARAM")


async def test_sending_without_a_transaction(server: RunningServer) -> None:
    alice = await server.register()
    room = await create(alice)
    path, body = f"/v3/rooms/{room}/send/m.room.message", {"msgtype": "m.text", "body": "x"}
    first, second = [(await alice.post(path, body))["event_id"] for _ in range(2)]
    assert first != second
    await alice.post(f"/v3/rooms/{room}/redact/{segment(first)}", {})
    assert (await alice.get(f"/v3/rooms/{room}/event/{segment(first)}"))["content"] == {}


async def test_state_in_both_forms(server: RunningServer) -> None:
    alice = await server.register()
    room = await create(alice, name="Tea")
    assert await alice.get(f"/v3/rooms/{room}/state/m.room.name") == {"name": "Tea"}
    assert await alice.get(f"/v3/rooms/{room}/state/m.room.name/") == {"name": "Tea"}
    event = await alice.get(f"/v3/rooms/{room}/state/m.room.name", format="event")
    assert (event["content"], event["type"], event["state_key"]) == ({"name": "Tea"}, "m.room.name", "")
    path = f"/v3/rooms/{room}/state/m.room.topic"
    assert await alice.refused("GET", path) == (404, "M_NOT_FOUND")
    assert await alice.refused("PUT", path, b"[]") == (400, "M_BAD_JSON")
    assert await alice.refused("PUT", path, b"{") == (400, "M_NOT_JSON")
    assert await alice.refused("PUT", path, b'{"a":1.5}') == (400, "M_BAD_JSON")
    assert await alice.refused("PUT", path, {"topic": "x" * 70_000}) == (413, "M_TOO_LARGE")
    own = await put(alice, room, "org.example.kind", {"a": 1}, "key")
    assert (await alice.get(f"/v3/rooms/{room}/state/org.example.kind/key", format="event"))[
        "event_id"
    ] == own


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"room_version": "99"}, "M_UNSUPPORTED_ROOM_VERSION"),
        ({"preset": "secret"}, "M_INVALID_PARAM"),
        ({"visibility": "hidden"}, "M_INVALID_PARAM"),
        ({"invite": "bob"}, "M_BAD_JSON"),
        ({"invite": ["bob"]}, "M_INVALID_PARAM"),
        ({"name": 1}, "M_BAD_JSON"),
        ({"room_alias_name": "a:b"}, "M_INVALID_PARAM"),
        ({"initial_state": [{"type": "x"}]}, "M_MISSING_PARAM"),
        ({"initial_state": [{"content": {}}]}, "M_MISSING_PARAM"),
        ({"power_level_content_override": {"ban": "x"}}, "M_INVALID_ROOM_STATE"),
        ({"creation_content": {"a": 1.5}}, "M_BAD_JSON"),
    ],
)
async def test_rooms_that_cannot_be(server: RunningServer, body: dict, error: str) -> None:
    alice = await server.register()
    assert await alice.refused("POST", "/v3/createRoom", body) == (400, error)


async def test_guests(server: RunningServer) -> None:
    alice = await server.register()
    guest = server.with_token(await server.anonymous().post("/v3/register", {}, kind="guest"))
    open_room = await create(alice, preset="public_chat")
    unsaid = await alice.refused("GET", f"/v3/rooms/{open_room}/state/m.room.guest_access")
    assert unsaid == (404, "M_NOT_FOUND")
    assert await guest.refused("POST", f"/v3/join/{open_room}", {}) == (403, "M_GUEST_ACCESS_FORBIDDEN")
    await put(alice, open_room, "m.room.guest_access", {"guest_access": "can_join"})
    await guest.post(f"/v3/join/{open_room}")
    await say(guest, open_room, "hello")
    assert await guest.refused("POST", "/v3/createRoom", {}) == (403, "M_GUEST_ACCESS_FORBIDDEN")
    assert bodies((await guest.get(f"/v3/rooms/{open_room}/messages", dir="b", limit=1))["chunk"]) == [
        "hello"
    ]
    await put(alice, open_room, "m.room.guest_access", {"guest_access": "forbidden"})
    member = await alice.get(f"/v3/rooms/{open_room}/state/m.room.member/{segment(guest.user_id)}")
    assert member["membership"] == "leave"


async def test_the_first_look_at_a_room(server: RunningServer) -> None:
    alice, bob = await server.register(), await server.register()
    room = await create(alice, name="Tea")
    await say(alice, room, "hello")
    told = await alice.get(f"/v3/rooms/{room}/initialSync")
    assert (told["membership"], told["visibility"]) == ("join", "private")
    assert bodies(told["messages"]["chunk"]) == ["hello"]
    assert told["messages"]["chunk"][-1]["content"]["body"] == "hello"
    assert "m.room.name" in {event["type"] for event in told["state"]}
    assert await bob.refused("GET", f"/v3/rooms/{room}/initialSync") == (403, "M_FORBIDDEN")


async def test_what_is_said_when_joining_is_in_the_member_event(server: RunningServer) -> None:
    alice, bob = await server.register(), await server.register()
    room = await create(alice)
    body = {"reason": "hello", "org.example.color": "blue", "membership": "ban", "displayname": "Alice"}
    await bob.post(f"/v3/join/{room}", body)
    said = await bob.get(f"/v3/rooms/{room}/state/m.room.member/{segment(bob.user_id)}")
    assert (said["membership"], said["org.example.color"], said["reason"]) == ("join", "blue", "hello")
    assert said.get("displayname") != "Alice"
    assert await bob.refused("POST", f"/v3/join/{room}", {"x": 1.5}) == (400, "M_BAD_JSON")


async def test_events_that_are_hidden_are_not_found(server: RunningServer) -> None:
    alice, eve = await server.register(), await server.register()
    room = await create(alice, preset="private_chat")
    event_id = await say(alice, room, "secret")
    path = f"/v3/rooms/{room}/event/{segment(event_id)}"
    assert await eve.refused("GET", path) == (404, "M_NOT_FOUND")
