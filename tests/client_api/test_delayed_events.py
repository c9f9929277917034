"""Stories of events that are sent later [MSC4140]."""

import pytest

from homeserver.services.now import now_ms
from tests.kit.server import Client, RunningServer, segment

DELAY = "org.matrix.msc4140.delay"
UNSTABLE = "/unstable/org.matrix.msc4140"
LONG = 3_600_000
CALL = "org.matrix.msc3401.call.member"


async def room_of(*people: Client) -> str:
    room_id: str = (await people[0].post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
    for client in people[1:]:
        await client.post(f"/v3/join/{segment(room_id)}")
    return room_id


async def later(client: Client, room_id: str, delay: int, txn: str = "1", **body: object) -> str:
    path = f"/v3/rooms/{segment(room_id)}/delayed_event/m.room.message/{txn}"
    answer = await client.put(path, {"delay_ms": delay, "content": {"body": "late"}, **body})
    delay_id: str = answer["delay_id"]
    return delay_id


async def told(client: Client, room_id: str, kind: str, since: str) -> dict[str, object]:
    """The next event of this type."""
    while True:
        answer = await client.get("/v3/sync", since=since, timeout=10_000)
        since = answer["next_batch"]
        timeline = answer.get("rooms", {}).get("join", {}).get(room_id, {}).get("timeline", {})
        for event in timeline.get("events", ()):
            if event["type"] == kind:
                found: dict[str, object] = event
                return found


async def test_a_message_is_sent_when_its_time_has_come(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await room_of(alice, bob)
    since = {client: (await client.get("/v3/sync"))["next_batch"] for client in (alice, bob)}
    begun = now_ms()
    delay_id = await later(alice, room_id, 60)
    seen = await told(bob, room_id, "m.room.message", since[bob])
    assert (seen["content"], seen["sender"]) == ({"body": "late"}, alice.user_id)
    assert "delay_id" not in seen["unsigned"]  # type: ignore[operator]
    own = await told(alice, room_id, "m.room.message", since[alice])
    assert own["unsigned"]["delay_id"] == delay_id  # type: ignore[index]
    assert own["unsigned"]["org.matrix.msc4140.delay_id"] == delay_id  # type: ignore[index]
    assert own["origin_server_ts"] >= begun + 60  # type: ignore[operator]


async def test_a_call_member_leaves_when_its_heartbeat_stops(server: RunningServer) -> None:
    """As calls do it: the leave is scheduled, then the member joins; state of one's own calls nothing off."""
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await room_of(alice, bob)
    state = f"/v3/rooms/{segment(room_id)}/state/{CALL}/{segment('_' + alice.user_id + '_DEV')}"
    await alice.put(f"/v3/rooms/{segment(room_id)}/state/m.room.topic", {"topic": "a call"})
    delay_id = (await alice.put(state, {}, **{DELAY: LONG}))["delay_id"]
    await alice.put(state, {"application": "m.call"})
    for _ in range(3):
        assert await alice.post(f"{UNSTABLE}/delayed_events/{delay_id}/restart") == {}
    since = (await bob.get("/v3/sync"))["next_batch"]
    helper = server.anonymous()
    assert await helper.post(f"{UNSTABLE}/delayed_events/{delay_id}", {"action": "send"}) == {}
    left = await told(bob, room_id, CALL, since)
    assert (left["content"], left["sender"]) == ({}, alice.user_id)
    assert await alice.post(f"{UNSTABLE}/delayed_events/{delay_id}/send") == {}  # a repetition
    assert (await alice.get(f"/v1/delayed_events/{delay_id}"))["event_id"] == left["event_id"]


async def test_what_is_scheduled_can_be_looked_up(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await room_of(alice, bob)
    second = await later(alice, room_id, 2 * LONG, "2")
    first = await later(alice, room_id, LONG, "1", state_key="x")
    assert await later(alice, room_id, LONG, "1", state_key="x") == first  # the same transaction
    listed = (await alice.get("/v1/delayed_events"))["delayed_events"]
    assert [one["delay_id"] for one in listed] == [first, second]
    assert (listed[0]["room_id"], listed[0]["type"], listed[0]["state_key"]) == (
        room_id,
        "m.room.message",
        "x",
    )
    assert (listed[1]["delay_ms"], listed[1]["content"]) == (2 * LONG, {"body": "late"})
    assert "state_key" not in listed[1]
    assert await alice.get(f"{UNSTABLE}/delayed_events") == {"delayed_events": listed}
    assert await alice.get(f"{UNSTABLE}/delayed_events/{first}") == listed[0]
    assert await bob.get("/v1/delayed_events") == {"delayed_events": []}
    for path in (f"/v1/delayed_events/{first}", "/v1/delayed_events/nothing"):
        assert await bob.refused("GET", path) == (404, "M_NOT_FOUND")
        for action in ("send", "cancel", "restart"):
            assert await bob.refused("POST", f"{path}/{action}") == (404, "M_NOT_FOUND")


async def test_an_action_that_contradicts_the_outcome(server: RunningServer) -> None:
    alice = await server.register("alice")
    room_id = await room_of(alice)
    gone, sent = await later(alice, room_id, LONG, "1"), await later(alice, room_id, LONG, "2")
    await alice.post(f"/v1/delayed_events/{gone}/cancel")
    await alice.post(f"/v1/delayed_events/{sent}/send")
    for delay_id, good, bad in ((gone, "cancel", "send"), (sent, "send", "cancel")):
        assert await alice.post(f"/v1/delayed_events/{delay_id}/{good}") == {}
        assert await alice.refused("POST", f"/v1/delayed_events/{delay_id}/{bad}") == (409, "M_UNKNOWN")
        assert await alice.refused("POST", f"/v1/delayed_events/{delay_id}/restart") == (409, "M_UNKNOWN")
    cancelled = await alice.get(f"/v1/delayed_events/{gone}")
    assert cancelled["finalised_ts"] > 0
    assert not {"event_id", "error"} & cancelled.keys()
    assert await alice.get("/v1/delayed_events") == {"delayed_events": []}
    assert await alice.refused("POST", f"/v1/delayed_events/{gone}/eat") == (400, "M_INVALID_PARAM")
    assert await server.anonymous().refused("POST", f"/v1/delayed_events/{gone}/send") == (
        401,
        "M_MISSING_TOKEN",
    )


async def test_rights_are_those_of_the_time_of_sending(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await room_of(alice, bob)
    delay_id = await later(bob, room_id, LONG, state_key="")
    assert await bob.refused("POST", f"/v1/delayed_events/{delay_id}/send") == (403, "M_FORBIDDEN")
    assert len((await bob.get("/v1/delayed_events"))["delayed_events"]) == 1  # it stays scheduled
    last = await later(bob, room_id, 1, "2", state_key="")
    marker = (await alice.get("/v3/sync"))["next_batch"]
    await later(alice, room_id, 50, "3")
    await told(alice, room_id, "m.room.message", marker)  # what was due before it has been dealt with
    assert (await bob.get(f"/v1/delayed_events/{last}"))["error"]["errcode"] == "M_FORBIDDEN"
    await alice.put(
        f"/v3/rooms/{segment(room_id)}/state/m.room.power_levels",
        {"users": {bob.user_id: 50}},
    )
    await bob.post(f"/v1/delayed_events/{delay_id}/send")


@pytest.mark.parametrize(
    ("query", "body", "refusal"),
    [
        ({DELAY: 0}, {}, (400, "M_INVALID_PARAM")),
        ({DELAY: -5}, {}, (400, "M_INVALID_PARAM")),
        ({DELAY: "soon"}, {}, (400, "M_INVALID_PARAM")),
        ({DELAY: 86_400_001}, {}, (403, "M_FORBIDDEN")),
        ({DELAY: 5}, {"body": "x" * 65_600}, (413, "M_TOO_LARGE")),
        ({DELAY: 5}, {"body": 1.5}, (400, "M_BAD_JSON")),
    ],
)
async def test_wishes_that_are_refused(
    server: RunningServer, query: dict[str, object], body: object, refusal: tuple[int, str]
) -> None:
    alice = await server.register("alice")
    room_id = await room_of(alice)
    path = f"/v3/rooms/{segment(room_id)}/send/m.room.message/1"
    assert await alice.refused("PUT", path, body, **query) == refusal


async def test_the_limits_are_told(server: RunningServer) -> None:
    alice = await server.register("alice")
    room_id = await room_of(alice)
    capabilities = (await alice.get("/v3/capabilities"))["capabilities"]
    assert capabilities["m.delayed_events"] == {"max_delay_ms": 86_400_000, "max_scheduled": 100}
    assert (await alice.get("/_matrix/client/versions"))["unstable_features"]["org.matrix.msc4140"]
    path = f"/v3/rooms/{segment(room_id)}/send/m.room.message/1"
    answer = await alice.ask("PUT", path, {}, **{DELAY: 86_400_001})
    assert answer.json["org.matrix.msc4140.max_delay"] == 86_400_000
    for number in range(100):
        await later(alice, room_id, LONG, str(number))
    answer = await alice.ask(
        "PUT",
        f"/v3/rooms/{segment(room_id)}/delayed_event/m.room.message/more",
        {"delay_ms": 5, "content": {}},
    )
    assert (answer.status, answer.errcode) == (429, "M_LIMIT_EXCEEDED")
    assert 3500 < int(answer.headers["Retry-After"]) <= 3600


async def test_an_account_that_ends_sends_nothing_more(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await room_of(alice, bob)
    delay_id = await later(bob, room_id, LONG)
    flow = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": bob.user_id}}
    await bob.post("/v3/account/deactivate", {"auth": {**flow, "password": "correct horse battery"}})
    assert await server.anonymous().refused("POST", f"{UNSTABLE}/delayed_events/{delay_id}/send") == (
        404,
        "M_NOT_FOUND",
    )


@pytest.mark.parametrize("state_key", [None, "", "key"])
async def test_a_crash_after_sending_makes_it_no_second_one(
    server: RunningServer, state_key: str | None
) -> None:
    alice = await server.register("alice")
    room_id = await room_of(alice)
    delay_id = await later(alice, room_id, LONG, **({} if state_key is None else {"state_key": state_key}))
    await alice.post(f"/v1/delayed_events/{delay_id}/send")
    first = (await alice.get(f"/v1/delayed_events/{delay_id}"))["event_id"]
    if state_key is not None:
        room = f"/v3/rooms/{segment(room_id)}"
        await alice.put(f"{room}/state/m.room.message/{state_key}", {"body": "newer"})
    async with server.database.writer() as conn:
        await conn.execute("UPDATE delayed_events SET finalised_ts = NULL, event_id = NULL, claimed_ts = 1")
    await alice.post(f"/v1/delayed_events/{delay_id}/send")
    assert (await alice.get(f"/v1/delayed_events/{delay_id}"))["event_id"] == first
    page = await alice.get(f"/v3/rooms/{segment(room_id)}/messages", dir="b", limit=50)
    said = [event["content"]["body"] for event in page["chunk"] if event["type"] == "m.room.message"]
    assert said == ["late"] if state_key is None else ["newer", "late"]
