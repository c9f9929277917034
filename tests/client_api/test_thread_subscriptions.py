"""Stories of threads that users want to hear of, and of those they do not [MSC4306], [MSC4308]."""

from typing import Any

from tests.kit.server import Client, RunningServer, segment
from tests.kit.sync_calls import pair

BEFORE = "/unstable/io.element.msc4306"
LIST = "/v1/thread_subscriptions"
EXTENSION = "io.element.msc4308.thread_subscriptions"


async def say(client: Client, room_id: str, body: str, root: str | None = None, **more: Any) -> str:
    content: dict[str, Any] = {"msgtype": "m.text", "body": body, **more}
    if root is not None:
        content["m.relates_to"] = {"rel_type": "m.thread", "event_id": root}
    path = f"/v3/rooms/{segment(room_id)}/send/m.room.message/{segment(body)}"
    event_id: str = (await client.put(path, content))["event_id"]
    return event_id


def subscription(room_id: str, root: str, prefix: str = "/v1") -> str:
    return f"{prefix}/rooms/{segment(room_id)}/thread/{segment(root)}/subscription"


async def unread(client: Client, room_id: str) -> int:
    answer = await client.get("/v3/sync")
    count: int = answer["rooms"]["join"][room_id]["unread_notifications"]["notification_count"]
    return count


async def windowed(client: Client, pos: str | None = None, **wish: Any) -> Any:
    body = {"extensions": {EXTENSION: {"enabled": True, **wish}}}
    path = "/unstable/org.matrix.simplified_msc3575/sync"
    return await client.post(path, body, **({} if pos is None else {"pos": pos}))


async def test_a_subscription_comes_and_goes(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    root = await say(alice, room_id, "root")
    path = subscription(room_id, root)
    assert await bob.refused("GET", path) == (404, "M_NOT_FOUND")
    assert await bob.delete(path) == {}  # there was none
    assert await bob.put(path, {}) == {}
    assert await bob.get(path) == {"automatic": False}
    assert await bob.get(subscription(room_id, root, BEFORE)) == {"automatic": False}
    assert await bob.delete(path) == {}
    assert await bob.refused("GET", path) == (404, "M_NOT_FOUND")
    stranger = await server.register("stranger")
    for method in ("GET", "PUT", "DELETE"):
        assert await stranger.refused(method, path, {}) == (404, "M_NOT_FOUND")
        assert await bob.refused(method, subscription(room_id, "$none"), {}) == (404, "M_NOT_FOUND")


async def test_what_was_left_is_not_entered_again_by_itself(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    root = await say(alice, room_id, "root")
    path, before = subscription(room_id, root), subscription(room_id, root, BEFORE)
    first = await say(alice, room_id, "first", root)
    beside = await say(alice, room_id, "beside")
    assert await bob.refused("PUT", path, {"automatic": beside}) == (400, "M_NOT_IN_THREAD")
    assert await bob.refused("PUT", before, {"automatic": beside}) == (
        400,
        "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD",
    )
    await bob.put(path, {"automatic": first})
    assert await bob.get(path) == {"automatic": True}
    await bob.put(path, {})
    await bob.put(path, {"automatic": first})
    assert await bob.get(path) == {"automatic": False}  # what the user did counts for more
    await bob.delete(path)
    code = "M_CONFLICTING_UNSUBSCRIPTION"
    assert await bob.refused("PUT", path, {"automatic": first}) == (409, code)
    assert await bob.refused("PUT", before, {"automatic": first}) == (409, f"IO.ELEMENT.MSC4306.{code}")
    await bob.put(path, {"automatic": await say(alice, room_id, "second", root)})
    assert await bob.get(path) == {"automatic": True}


async def test_threads_notify_those_who_want_to_hear_of_them(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    carol = await server.register("carol")
    await carol.post(f"/v3/join/{segment(room_id)}")
    heard, unheard = await say(alice, room_id, "one root"), await say(alice, room_id, "another root")
    await bob.put(subscription(room_id, heard), {})
    counts = await unread(bob, room_id), await unread(carol, room_id)
    await say(alice, room_id, "to all", heard)
    assert (await unread(bob, room_id), await unread(carol, room_id)) == (counts[0] + 1, counts[1] + 1)
    await say(alice, room_id, "to some", unheard)
    assert (await unread(bob, room_id), await unread(carol, room_id)) == (counts[0] + 1, counts[1] + 2)
    await say(alice, room_id, "to bob", unheard, **{"m.mentions": {"user_ids": [bob.user_id]}})
    await say(alice, room_id, "not in a thread")
    assert await unread(bob, room_id) == counts[0] + 3
    kinds = await bob.get("/v3/pushrules/global/")
    assert [rule["rule_id"].rpartition(".")[2] for rule in kinds["postcontent"]] == [
        "unsubscribed_thread",
        "subscribed_thread",
    ]
    assert "postcontent" not in await carol.get("/v3/pushrules/global/")
    rule = {"actions": ["notify"], "conditions": []}
    assert await bob.refused("PUT", "/v3/pushrules/global/postcontent/mine", rule) == (400, "M_INVALID_PARAM")
    quiet = f"/v3/pushrules/global/postcontent/{kinds['postcontent'][0]['rule_id']}/enabled"
    await bob.put(quiet, {"enabled": False})
    await say(alice, room_id, "to some more", unheard)
    assert await unread(bob, room_id) == counts[0] + 4


async def test_a_room_that_is_muted_but_for_a_thread(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    root = await say(alice, room_id, "root")
    await bob.put(f"/v3/pushrules/global/room/{segment(room_id)}", {"actions": []})
    await bob.put(subscription(room_id, root), {})
    before = await unread(bob, room_id)
    await say(alice, room_id, "muted")
    await say(alice, room_id, "heard", root)
    assert await unread(bob, room_id) == before + 1


async def test_sliding_sync_tells_what_is_new(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    roots = [await say(alice, room_id, f"root {number}") for number in range(5)]
    await bob.put(subscription(room_id, roots[0]), {})
    await bob.put(subscription(room_id, roots[1]), {})
    await bob.delete(subscription(room_id, roots[1]))
    begun = await windowed(bob)
    threads = begun["extensions"][EXTENSION]
    assert threads["subscribed"][room_id].keys() == {roots[0]}
    assert threads["subscribed"][room_id][roots[0]]["automatic"] is False
    assert "unsubscribed" not in threads
    quiet = await windowed(bob, begun["pos"])
    assert EXTENSION not in quiet["extensions"]
    for root in roots[1:]:
        await bob.put(subscription(room_id, root), {})
    await bob.delete(subscription(room_id, roots[0]))
    news = await windowed(bob, quiet["pos"], limit=2)
    threads = news["extensions"][EXTENSION]
    assert threads["unsubscribed"][room_id].keys() == {roots[0]}
    assert threads["subscribed"][room_id].keys() == {roots[4]}
    rest: set[str] = set()
    start: str | None = threads["prev_batch"]
    while start is not None:
        page = await bob.get(LIST, dir="b", limit=2, to=quiet["pos"], **{"from": start})
        rest |= page["subscribed"][room_id].keys()
        start = page.get("end")
    assert rest == set(roots[1:4])
    everything = await bob.get(LIST, dir="b")
    assert len(everything["subscribed"][room_id]) == 4
    assert await bob.refused("GET", LIST, dir="f") == (400, "M_INVALID_PARAM")
    assert "extensions" in await windowed(alice)
