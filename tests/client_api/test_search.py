"""Stories of searching messages [cs "Server Side Search"]."""

from typing import Any

from tests.kit.server import Client, RunningServer, segment

PATH = "/v3/search"


async def room_of(*people: Client, **options: Any) -> str:
    room_id: str = (await people[0].post("/v3/createRoom", {"preset": "public_chat", **options}))["room_id"]
    for client in people[1:]:
        await client.post(f"/v3/join/{segment(room_id)}")
    return room_id


async def say(client: Client, room_id: str, body: str, **more: Any) -> str:
    path = f"/v3/rooms/{segment(room_id)}/send/m.room.message/{segment(body)}"
    event_id: str = (await client.put(path, {"msgtype": "m.text", "body": body, **more}))["event_id"]
    return event_id


async def search(client: Client, term: str, token: str | None = None, **criteria: Any) -> Any:
    body = {"search_categories": {"room_events": {"search_term": term, **criteria}}}
    answer = await client.post(PATH, body, next_batch=token)
    return answer["search_categories"]["room_events"]


async def found(client: Client, term: str, **criteria: Any) -> list[str]:
    answer = await search(client, term, **{"order_by": "recent", **criteria})
    return [result["result"]["content"].get("body", "") for result in answer["results"]]


async def test_words(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await room_of(alice, bob, name="Martian affairs", topic="All of Mars")
    for body in ("Martians are green", "men are not", "今日は天気がいい", "天国の気", "Straße 7"):
        await say(alice, room_id, body)
    for term, bodies in (
        ("martians", ["Martians are green"]),
        ("GREEN are", ["Martians are green"]),
        ("are", ["men are not", "Martians are green"]),
        ("are nothing", []),
        ("天気", ["今日は天気がいい"]),
        ("天", ["天国の気", "今日は天気がいい"]),
        ("strasse", ["Straße 7"]),
        ("?!", []),
        ("' & 'x", []),
        ("!1", []),
    ):
        assert await found(bob, term) == bodies, term
    names = await search(bob, "martian", keys=["content.name"])
    assert [result["result"]["type"] for result in names["results"]] == ["m.room.name"]
    topics = await search(bob, "mars", keys=["content.topic"])
    assert [result["result"]["type"] for result in topics["results"]] == ["m.room.topic"]
    both = await search(bob, "martian")
    assert both["count"] == 2
    assert both["highlights"] == ["martian", "martians"]
    assert all(result["rank"] > 0 for result in both["results"])


async def test_who_finds_what(server: RunningServer) -> None:
    alice, bob, eve = [await server.register(name) for name in ("alice", "bob", "eve")]
    room_id = await room_of(alice, bob)
    await say(alice, room_id, "secret before")
    taken_back = await say(alice, room_id, "secret mistake")
    await say(bob, room_id, "secret of bob")
    assert await found(eve, "secret") == []
    assert await found(bob, "secret") == ["secret of bob", "secret mistake", "secret before"]
    await alice.put(f"/v3/rooms/{segment(room_id)}/redact/{segment(taken_back)}/1")
    assert await found(bob, "secret") == ["secret of bob", "secret before"]
    await alice.put(
        f"/v3/user/{segment(alice.user_id)}/account_data/m.ignored_user_list",
        {"ignored_users": {bob.user_id: {}}},
    )
    assert await found(alice, "secret") == ["secret before"]
    await bob.post(f"/v3/rooms/{segment(room_id)}/leave")
    await say(alice, room_id, "secret after")
    assert await found(bob, "secret") == ["secret of bob", "secret before"]
    await bob.post(f"/v3/rooms/{segment(room_id)}/forget")
    assert await found(bob, "secret") == []


async def test_pages_and_groups(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    rooms = [await room_of(alice, bob) for _ in range(2)]
    said = [
        await say(client, room_id, f"pear {number}")
        for number in range(3)
        for room_id in rooms
        for client in (alice, bob)
    ]
    for order in ("recent", "rank"):
        seen: list[str] = []
        token = None
        while True:
            answer = await search(alice, "pear", token, order_by=order, filter={"limit": 5})
            seen += [result["result"]["event_id"] for result in answer["results"]]
            token = answer.get("next_batch")
            if token is None:
                break
        assert sorted(seen) == sorted(said)
        assert answer["count"] == len(said)
    grouping = {"group_by": [{"key": "room_id"}, {"key": "sender"}]}
    first = await search(alice, "pear", order_by="recent", filter={"limit": 4}, groupings=grouping)
    assert set(first["groups"]["room_id"]) == set(rooms)
    group = first["groups"]["sender"][bob.user_id]
    assert len(group["results"]) == 2
    more = await search(alice, "pear", group["next_batch"], order_by="recent", groupings=grouping)
    assert {result["result"]["sender"] for result in more["results"]} == {bob.user_id}
    assert len(more["results"]) == 4
    only = await search(alice, "pear", filter={"rooms": rooms[:1], "senders": [alice.user_id], "limit": 50})
    assert len(only["results"]) == 3


async def test_what_is_not_shown_fills_no_page(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await room_of(alice)
    await say(alice, room_id, "plum at first")
    await bob.post(f"/v3/join/{segment(room_id)}")
    for number in range(12):
        await say(bob, room_id, f"plum {number}")
    ignored = {"ignored_users": {bob.user_id: {}}}
    await alice.put(f"/v3/user/{segment(alice.user_id)}/account_data/m.ignored_user_list", ignored)
    answer = await search(alice, "plum", order_by="recent", filter={"limit": 1})
    assert [result["result"]["content"]["body"] for result in answer["results"]] == ["plum at first"]
    assert "next_batch" not in answer
    results = (await search(bob, "plum", order_by="recent", filter={"limit": 20}))["results"]
    memberships = [result["result"]["unsigned"]["membership"] for result in results]
    assert memberships == ["join"] * 12 + ["leave"]  # [MSC4115]


async def test_context_and_state(server: RunningServer) -> None:
    alice = await server.register("alice")
    await alice.put(f"/v3/profile/{segment(alice.user_id)}/displayname", {"displayname": "Alice"})
    room_id = await room_of(alice)
    for body in ("one", "two", "needle", "three", "four"):
        await say(alice, room_id, body)
    wanted = {"before_limit": 1, "after_limit": 1, "include_profile": True}
    answer = await search(alice, "needle", event_context=wanted, include_state=True)
    [result] = answer["results"]
    context = result["context"]
    assert [event["content"]["body"] for event in context["events_before"]] == ["two"]
    assert [event["content"]["body"] for event in context["events_after"]] == ["three"]
    assert context["profile_info"] == {alice.user_id: {"displayname": "Alice"}}
    page = await alice.get(
        f"/v3/rooms/{segment(room_id)}/messages", dir="b", limit=1, **{"from": context["start"]}
    )
    assert page["chunk"][0]["content"]["body"] == "one"
    page = await alice.get(
        f"/v3/rooms/{segment(room_id)}/messages", dir="f", limit=1, **{"from": context["end"]}
    )
    assert page["chunk"][0]["content"]["body"] == "four"
    assert any(event["type"] == "m.room.create" for event in answer["state"][room_id])


async def test_what_is_no_search(server: RunningServer) -> None:
    alice = await server.register("alice")
    assert await alice.post(PATH, {"search_categories": {}}) == {"search_categories": {}}
    for criteria, errcode in (
        ({}, "M_MISSING_PARAM"),
        ({"search_term": 1}, "M_BAD_JSON"),
        ({"search_term": "a\0"}, "M_BAD_JSON"),
        ({"search_term": "a", "keys": ["content.x"]}, "M_INVALID_PARAM"),
        ({"search_term": "a", "keys": "content.body"}, "M_BAD_JSON"),
        ({"search_term": "a", "order_by": "size"}, "M_INVALID_PARAM"),
        ({"search_term": "a", "filter": []}, "M_BAD_JSON"),
        ({"search_term": "a", "filter": {"limit": -1}}, "M_BAD_JSON"),
        ({"search_term": "a", "event_context": {"before_limit": -1}}, "M_INVALID_PARAM"),
        ({"search_term": "a", "groupings": {"group_by": [{"key": "x"}]}}, "M_INVALID_PARAM"),
        ({"search_term": "a", "groupings": {"group_by": [7]}}, "M_BAD_JSON"),
    ):
        body = {"search_categories": {"room_events": criteria}}
        assert await alice.refused("POST", PATH, body) == (400, errcode), criteria
    body = {"search_categories": {"room_events": {"search_term": "a"}}}
    for token in ("x", "W10", "WyIiLCIiLCJ4IiwxXQ", "WyJ4IiwiIiwxLDFd", "a" * 5000):
        assert await alice.refused("POST", PATH, body, next_batch=token) == (400, "M_INVALID_PARAM"), token
    assert await alice.refused("POST", PATH, {"search_categories": {"room_events": 7}}) == (400, "M_BAD_JSON")
