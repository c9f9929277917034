"""Readers go back beyond our time in a room: history of other servers, page by page."""

import pytest

from homeserver.core.hashing import event_id_of
from homeserver.core.room_versions import ROOM_VERSIONS
from tests.federation.test_behind_our_join import seen
from tests.kit.invariants import broken
from tests.kit.room_builder import Links
from tests.kit.server import segment

VERSIONS = pytest.mark.parametrize("version", ROOM_VERSIONS.values(), ids=ROOM_VERSIONS)
V11, V12 = ROOM_VERSIONS["11"], ROOM_VERSIONS["12"]
FEDERATION = "/_matrix/federation"


async def enter(client, room, *via):
    query = "&".join(f"via={segment(name)}" for name in via)
    answer = await client.ask("POST", f"/v3/join/{segment(room.room_id)}?{query}", {})
    assert answer.status == 200, answer.content


async def page(client, room, token=None, limit=50, **query):
    path = f"/v3/rooms/{segment(room.room_id)}/messages"
    return await client.get(path, dir="b", limit=limit, **query, **({"from": token} if token else {}))


async def whole_history(client, room, limit=50):
    """All events back to the beginning, newest first."""
    found, token = [], None
    while True:
        said = await page(client, room, token, limit)
        found += said["chunk"]
        token = said.get("end")
        if token is None:
            return found
        assert len(found) < 1000


def lively(peer, version):
    """A room with a past: state that changes, forks that are resolved, a redaction."""
    room = peer.found(version)
    bob = peer.user("bob")
    room.join(bob)
    room.topic(peer.alice, "first")
    room.message(bob, "early")
    left, right = room.fork(), room.fork()
    left.topic(peer.alice, "left")
    left.member(peer.alice, bob, "ban")
    right.message(bob, "aside")
    right.send_state(peer.alice, "m.room.name", "", {"name": "garden"})
    room.merge(left, right).message(peer.alice, "merged")
    room.member(peer.alice, bob, "leave")
    for number in range(5):
        room.message(peer.alice, str(number))
    room.topic(peer.alice, "last")
    return room


@VERSIONS
async def test_all_history_comes_in_order(homing, peer, version):
    alice = await homing.register()
    room = lively(peer, version)
    await enter(alice, room, peer.name)
    told = [event["event_id"] for event in await whole_history(alice, room, limit=7)]
    assert len(told) == len(set(told))
    assert set(told) == set(room.events)
    places = {event_id: place for place, event_id in enumerate(told)}
    for event in room.events.values():
        for parent in event.prev_events:
            assert places[event.event_id] < places[parent]
    assert not (await whole_history(alice, room, limit=1000))[len(told) :]


@VERSIONS
async def test_states_are_what_they_were(homing, peer, version):
    """What we tell other servers of history is what we were told."""
    alice = await homing.register()
    room = lively(peer, version)
    await enter(alice, room, peer.name)
    before = dict(room.record.state_before)
    await whole_history(alice, room)
    asked = {"v": room.last.event_id, "limit": 100}
    told = await peer.ask("GET", homing.name, f"{FEDERATION}/v1/backfill/{segment(room.room_id)}", **asked)
    assert {event_id_of(pdu, version) for pdu in told["pdus"]} == set(room.events)
    async with homing.database.read() as conn:
        assert not await broken(conn)
    for event_id, state in before.items():
        path = f"{FEDERATION}/v1/state_ids/{segment(room.room_id)}"
        said = await peer.ask("GET", homing.name, path, event_id=event_id)
        assert sorted(said["pdu_ids"]) == sorted(state.values()), room.events[event_id]


async def test_many_pages(homing, peer):
    """More than one answer of the other server holds; the newest page needs no waiting."""
    alice = await homing.register()
    room = peer.found(V12)
    for number in range(230):
        if number % 10 == 0:
            room.topic(peer.alice, f"topic {number}")
        room.message(peer.alice, str(number))
    await enter(alice, room, peer.name)
    told = await whole_history(alice, room, limit=30)
    bodies = [event["content"]["body"] for event in told if event["type"] == "m.room.message"]
    assert bodies == [str(number) for number in reversed(range(230))]
    assert len(peer.seen("GET", "/v1/backfill")) == 3
    async with homing.database.read() as conn:
        assert await conn.fetchval("SELECT count(*) FROM missing_events") == 0
        overlays = await conn.fetchval("SELECT max(cardinality(key_nids)) FROM state_overlays")
    assert overlays <= 5  # the topic; near the beginning the whole state, which is small


async def test_visibility_holds_for_history(homing, peer):
    alice = await homing.register()
    room = peer.found(V12)
    room.message(peer.alice, "for all who come")
    room.send_state(peer.alice, "m.room.history_visibility", "", {"history_visibility": "joined"})
    room.message(peer.alice, "for us")
    await enter(alice, room, peer.name)
    bodies = [event["content"].get("body") for event in await whole_history(alice, room)]
    assert "for all who come" in bodies
    assert "for us" not in bodies


async def test_relations_and_redactions_apply(homing, peer):
    alice = await homing.register()
    room = peer.found(V11)
    parent = room.message(peer.alice, "root")
    related = {"m.relates_to": {"rel_type": "m.thread", "event_id": parent.event_id}, "body": "reply"}
    child = room.append(room.draft(peer.alice, "m.room.message", related))
    secret = room.message(peer.alice, "secret")
    room.append(room.draft(peer.alice, "m.room.redaction", {"redacts": secret.event_id}))
    await enter(alice, room, peer.name)
    told = {event["event_id"]: event for event in await whole_history(alice, room)}
    assert told[secret.event_id]["content"] == {}
    latest = told[parent.event_id]["unsigned"]["m.relations"]["m.thread"]["latest_event"]
    assert latest["event_id"] == child.event_id


async def test_nobody_waits_for_a_server_that_is_gone(homing, peer):
    alice = await homing.register()
    room = peer.found(V12)
    room.message(peer.alice)
    await enter(alice, room, peer.name)
    await peer.stop()
    said = await page(alice, room)
    assert [event["type"] for event in said["chunk"]] == ["m.room.member"]
    while (token := said.get("end")) is not None:
        said = await page(alice, room, token)
        assert said["chunk"] == []


async def test_the_second_server_helps(homing, peers):
    alice = await homing.register()
    here, there = await peers(), await peers()
    room = here.found(V12)
    room.message(here.alice, "long ago")
    there.keep(room)
    room.join(there.alice)
    await enter(alice, room, here.name)
    here.on("GET", f"{FEDERATION}/v1/backfill/{{roomId}}", {"errcode": "M_UNKNOWN"}, status=500)
    told = await whole_history(alice, room)
    assert "long ago" in [event["content"].get("body") for event in told]


@pytest.mark.parametrize("what", ["another room", "unrelated", "forged", "garbage", "without states"])
async def test_lies_become_no_history(homing, peer, what):
    alice = await homing.register()
    room, other = peer.found(V11), peer.found(V11)
    room.message(peer.alice, "true")
    true = room.last
    other.message(peer.alice, "elsewhere")
    await enter(alice, room, peer.name)
    forged = {**true.pdu, "content": {"body": "forged", "msgtype": "m.text"}}
    forged.pop("signatures")
    lies = {
        "another room": [other.last.pdu],
        "unrelated": [event.pdu for event in list(room.events.values())[:3]],
        "forged": [{**forged, "signatures": {}}],
        "garbage": [{}, {"type": 5}, {"event_id": "$x"}],
        "without states": [true.pdu],
    }
    peer.on("GET", f"{FEDERATION}/v1/backfill/{{roomId}}", {"pdus": lies[what]})
    if what == "without states":
        peer.on("GET", f"{FEDERATION}/v1/state_ids/{{roomId}}", {"errcode": "M_NOT_FOUND"}, status=404)
    told = await whole_history(alice, room)
    assert [event["type"] for event in told] == ["m.room.member"]
    assert told[0]["state_key"] == alice.user_id


async def test_a_hole_is_not_jumped(homing, peer):
    """What is in front of an event that nobody can judge must not get its place."""
    alice = await homing.register()
    room = peer.found(V12)
    room.message(peer.alice, "before")
    lost = room.draft(peer.alice, "m.room.topic", {"topic": "never told"}, state_key="")
    links = Links(auth=[*room.last.auth_events, lost.event_id])
    room.record.events[lost.event_id] = lost
    strange = room.append(room.draft(peer.alice, "m.room.message", {"body": "strange"}, links=links))
    del room.record.events[lost.event_id]
    room.message(peer.alice, "after")
    await enter(alice, room, peer.name)
    bodies = [event["content"].get("body") for event in await whole_history(alice, room)]
    assert bodies == [None, "after"]
    async with homing.database.read() as conn:
        assert await conn.fetchval("SELECT event_id FROM missing_events") == strange.event_id


async def test_the_surroundings_of_an_old_event(homing, peer):
    alice = await homing.register()
    room = peer.found(V12)
    room.topic(peer.alice, "first")
    old = room.message(peer.alice, "long ago")
    room.topic(peer.alice, "second")
    await enter(alice, room, peer.name)
    await whole_history(alice, room)
    path = f"/v3/rooms/{segment(room.room_id)}/context/{segment(old.event_id)}"
    said = await alice.get(path, limit=2)
    topics = [event["content"]["topic"] for event in said["state"] if event["type"] == "m.room.topic"]
    assert topics == ["second"]  # of the last event that is shown
    assert [event["content"].get("topic") for event in said["events_before"]] == ["first"]
    alone = await alice.get(path, limit=0)
    assert "first" in [event["content"].get("topic") for event in alone["state"]]


async def test_sync_does_not_tell_history(homing, peer):
    alice = await homing.register()
    room = lively(peer, V12)
    await enter(alice, room, peer.name)
    since = (await alice.get("/v3/sync"))["next_batch"]
    await whole_history(alice, room)
    assert room.room_id not in (await alice.get("/v3/sync", since=since)).get("rooms", {}).get("join", {})
    told = (await alice.get("/v3/sync"))["rooms"]["join"][room.room_id]
    assert [event["type"] for event in told["timeline"]["events"]] == ["m.room.member"]
    state = {event["event_id"] for event in (*told["state"]["events"], *told["timeline"]["events"])}
    assert state >= set(room.current().values())


async def test_the_event_of_a_time_before_ours(homing, peer):
    alice = await homing.register()
    room = peer.found(V12)
    events = [room.message(peer.alice, str(number)) for number in range(250)]
    await enter(alice, room, peer.name)
    wanted = events[20]
    path = f"/v1/rooms/{segment(room.room_id)}/timestamp_to_event"
    for direction in ("f", "b"):
        found = await alice.get(path, ts=wanted.origin_server_ts, dir=direction)
        assert found["event_id"] == wanted.event_id
    told = await alice.get(f"/v3/rooms/{segment(room.room_id)}/context/{segment(wanted.event_id)}")
    assert told["event"]["event_id"] == wanted.event_id


@pytest.mark.parametrize("version", [V11, V12], ids=["v11", "v12"])
async def test_what_was_missed_while_away_is_read_after_the_return(homing, peer, version):
    """The gap has a place in the timeline, between what came before it and the second join."""
    alice = await homing.register()
    room = lively(peer, version)
    await enter(alice, room, peer.name)
    await alice.post(f"/v3/rooms/{segment(room.room_id)}/leave", {})
    await peer.until(lambda: room.state["m.room.member", alice.user_id].membership == "leave")
    missed = [room.message(peer.alice, f"without you {number}") for number in range(130)]
    topic = room.topic(peer.alice, "meanwhile")
    await enter(alice, room, peer.name)
    told = [event["event_id"] for event in await whole_history(alice, room, limit=50)]
    assert len(told) == len(set(told))
    assert {event.event_id for event in (*missed, topic)} <= set(told)
    places = {event_id: place for place, event_id in enumerate(told)}
    for event in room.events.values():
        for parent in event.prev_events:
            assert places[event.event_id] < places[parent]


async def test_a_page_is_filled_by_servers_that_give_little(homing, peer):
    alice = await homing.register()
    room = peer.found(V12)
    for number in range(6):
        room.message(peer.alice, str(number))

    async def two(call):
        events = room.before(call.query.getall("v"), limit=2)
        return {"origin": peer.name, "origin_server_ts": 0, "pdus": [dict(event.pdu) for event in events]}

    peer.on("GET", f"{FEDERATION}/v1/backfill/{{roomId}}", two)
    await enter(alice, room, peer.name)
    said = await page(alice, room, limit=7)
    assert [event["content"].get("body") for event in said["chunk"]] == [None, "5", "4", "3", "2", "1", "0"]


async def test_a_page_goes_on_over_what_nobody_has(homing, peer):
    """Behind the gap stands an event whose own previous one is of another room."""
    alice = await homing.register()
    room, other = peer.found(V11), peer.found(V11)
    await enter(alice, room, peer.name)
    await enter(alice, other, peer.name)
    stray = other.message(peer.alice, "elsewhere")
    room.record.events[stray.event_id] = stray
    room.record.state_after[stray.event_id] = room.state_ids
    links = Links(prev=[stray.event_id])
    odd = room.append(room.draft(peer.alice, "m.room.message", {"body": "odd"}, links=links))
    del room.record.events[stray.event_id]
    near, last = room.message(peer.alice, "near"), room.message(peer.alice, "last")
    peer.on("POST", f"{FEDERATION}/v1/get_missing_events/{{roomId}}", {"events": [dict(near.pdu)]})
    await peer.send(homing.name, [stray, last])
    await seen(alice, other.room_id, {stray.event_id})
    await seen(alice, room.room_id, {last.event_id})
    told = [event["event_id"] for event in (await page(alice, room))["chunk"]]
    came = room.current()["m.room.member", alice.user_id]
    assert told[:4] == [last.event_id, near.event_id, odd.event_id, came]
    assert stray.event_id not in told


async def test_history_is_found_by_its_words(homing, peer):
    alice = await homing.register()
    room = peer.found(V11)
    room.message(peer.alice, "the harvest of years ago")
    taken_back = room.message(peer.alice, "a harvest nobody wants")
    room.append(room.draft(peer.alice, "m.room.redaction", {"redacts": taken_back.event_id}))
    for number in range(20):
        room.message(peer.alice, str(number))
    await enter(alice, room, peer.name)
    body = {"search_categories": {"room_events": {"search_term": "harvest"}}}
    await whole_history(alice, room)
    found = (await alice.post("/v3/search", body))["search_categories"]["room_events"]
    assert [one["result"]["content"]["body"] for one in found["results"]] == ["the harvest of years ago"]
    assert found["count"] == 1
