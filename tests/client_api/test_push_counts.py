"""Who is notified of what, and how that is counted and listed [cs "Receiving notifications"]."""

from typing import Any

from tests.kit.server import Client, RunningServer, segment
from tests.kit.sync_calls import create, join, pair, put, say, section, sync

THREADS = {"room": {"timeline": {"unread_thread_notifications": True}}}


async def counts(client: Client, room_id: str) -> tuple[int, int]:
    found = section(await sync(client), room_id)["unread_notifications"]
    return found["notification_count"], found["highlight_count"]


async def read(client: Client, room_id: str, event_id: str, kind: str = "m.read", **body: Any) -> None:
    await client.post(f"/v3/rooms/{segment(room_id)}/receipt/{kind}/{segment(event_id)}", body)


async def react(client: Client, room_id: str, event_id: str) -> None:
    relates = {"rel_type": "m.annotation", "event_id": event_id, "key": "+"}
    await client.put(f"/v3/rooms/{segment(room_id)}/send/m.reaction/r{event_id}", {"m.relates_to": relates})


def mention(*users: Client, room: bool = False) -> dict[str, Any]:
    return {"m.mentions": {"user_ids": [user.user_id for user in users], "room": room}}


async def test_messages_are_counted_until_they_are_read(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    assert await counts(bob, room_id) == (0, 0)
    first = await say(alice, room_id, "one")
    await say(alice, room_id, "two", **mention(bob))
    assert await counts(bob, room_id) == (2, 1)
    assert await counts(alice, room_id) == (0, 0)
    await read(bob, room_id, first)
    assert await counts(bob, room_id) == (1, 1)
    third = await say(alice, room_id, "three")
    await read(bob, room_id, third, "m.read.private")
    assert await counts(bob, room_id) == (0, 0)


async def test_the_count_comes_with_the_event(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    since = (await sync(bob))["next_batch"]
    for number in range(1, 4):
        await say(alice, room_id, str(number), **(mention(bob) if number == 2 else {}))
        answer = await sync(bob, since, timeout=10_000)
        since = answer["next_batch"]
        told = section(answer, room_id)["unread_notifications"]
        assert told == {"notification_count": number, "highlight_count": int(number > 1)}
    await say(bob, room_id, "mine")
    told = section(await sync(bob, since), room_id)["unread_notifications"]
    assert told == {"notification_count": 0, "highlight_count": 0}


async def test_sending_is_reading_but_a_new_name_is_not(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    event_id = await say(alice, room_id, "hello")
    await put(bob, room_id, "m.room.member", {"membership": "join", "displayname": "Bobby"}, bob.user_id)
    assert await counts(bob, room_id) == (1, 0)
    await react(bob, room_id, event_id)
    assert await counts(bob, room_id) == (0, 0)


async def test_threads_are_counted_apart(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    root = await say(alice, room_id, "root")
    reply = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
    first = await say(alice, room_id, "first", **reply)
    edit = {"m.relates_to": {"rel_type": "m.reference", "event_id": first}}
    last = await say(alice, room_id, "about-first", **edit)  # in the thread by what it refers to

    async def threads() -> tuple[int, dict[str, int]]:
        room = section(await sync(bob, None, THREADS), room_id)
        others = {key: one["notification_count"] for key, one in room["unread_thread_notifications"].items()}
        return room["unread_notifications"]["notification_count"], others

    assert await threads() == (1, {root: 2})
    assert await counts(bob, room_id) == (3, 0)
    await read(bob, room_id, root, thread_id="main")
    assert await threads() == (0, {root: 2})
    await read(bob, room_id, first, thread_id=root)
    assert await threads() == (0, {root: 1})
    await read(bob, room_id, last)
    assert await threads() == (0, {})


async def test_rules_decide(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    carol = await server.register("carol")
    await carol.put(f"/v3/profile/{carol.user_id}/displayname", {"displayname": "Carol"})
    await join(carol, room_id)
    await bob.put(f"/v3/pushrules/global/room/{segment(room_id)}", {"actions": []})
    condition = {"kind": "contains_display_name"}
    await carol.put(
        "/v3/pushrules/global/override/name",
        {"conditions": [condition], "actions": ["notify", {"set_tweak": "highlight"}]},
    )
    await say(alice, room_id, "hi")
    assert await counts(bob, room_id) == (0, 0)
    assert await counts(carol, room_id) == (1, 0)
    await say(alice, room_id, "hi-carol")
    assert await counts(carol, room_id) == (2, 1)
    await say(alice, room_id, "all", **mention(room=True))
    assert await counts(bob, room_id) == (1, 1)  # mentions stand above rules for rooms
    await say(bob, room_id, "everybody", **mention(room=True))  # who has not the power to
    assert await counts(carol, room_id) == (4, 2)
    await bob.delete(f"/v3/pushrules/global/room/{segment(room_id)}")
    await say(alice, room_id, "again")
    assert await counts(bob, room_id) == (1, 0)


async def test_who_was_not_there_is_not_notified(server: RunningServer) -> None:
    alice, _, room_id = await pair(server)
    carol = await server.register("carol")
    await say(alice, room_id, "before")
    await join(carol, room_id)
    assert await counts(carol, room_id) == (0, 0)
    await say(alice, room_id, "after")
    assert await counts(carol, room_id) == (1, 0)
    await carol.post(f"/v3/rooms/{segment(room_id)}/leave")
    await say(alice, room_id, "meanwhile")
    await join(carol, room_id)
    assert await counts(carol, room_id) == (0, 0)
    assert (await carol.get("/v3/notifications"))["notifications"] == []


async def test_what_is_redacted_or_ignored_does_not_count(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    event_id = await say(alice, room_id, "oops", **mention(bob))
    await alice.put(f"/v3/rooms/{segment(room_id)}/redact/{segment(event_id)}/1")
    assert await counts(bob, room_id) == (0, 0)
    await say(alice, room_id, "more")
    ignored = {"ignored_users": {alice.user_id: {}}}
    await bob.put(f"/v3/user/{bob.user_id}/account_data/m.ignored_user_list", ignored)
    assert await counts(bob, room_id) == (0, 0)
    assert (await bob.get("/v3/notifications"))["notifications"] == []


async def test_two_make_a_sound(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    await say(alice, room_id, "to-you")
    carol = await server.register("carol")
    await join(carol, room_id)
    await say(alice, room_id, "to-you-all")
    found = (await bob.get("/v3/notifications"))["notifications"]
    sound = {"set_tweak": "sound", "value": "default"}
    assert [one["actions"] for one in found] == [["notify"], ["notify", sound]]


async def test_notifications_are_listed(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    events = [await say(alice, room_id, str(n), **(mention(bob) if n == 1 else {})) for n in range(4)]
    await read(bob, room_id, events[0])
    other = await create(alice, preset="private_chat", invite=[bob.user_id])
    page = await bob.get("/v3/notifications", limit=3)
    assert [one["room_id"] for one in page["notifications"]] == [other, room_id, room_id]
    assert page["notifications"][0]["event"]["content"]["membership"] == "invite"
    rest = await bob.get("/v3/notifications", limit=3, **{"from": page["next_token"]})
    told = page["notifications"][1:] + rest["notifications"]
    assert [one["event"]["event_id"] for one in told] == events[::-1]
    assert [one["read"] for one in told] == [False, False, False, True]
    assert "next_token" not in rest
    highlights = (await bob.get("/v3/notifications", only="highlight"))["notifications"]
    assert [one["event"]["event_id"] for one in highlights] == [events[1]]
    assert await bob.refused("GET", "/v3/notifications", **{"from": "x"}) == (400, "M_INVALID_PARAM")


async def test_hostile_mentions_and_rules_do_no_harm(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    for number, mentions in enumerate(
        [1, [], {"user_ids": 1}, {"user_ids": [1, None, "@nobody:localhost", "\x00"]}]
    ):
        await say(alice, room_id, str(number), **{"m.mentions": mentions})
    assert await counts(bob, room_id) == (4, 0)
