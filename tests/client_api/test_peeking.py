"""Stories of devices that look into rooms without being in them [MSC2753]."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from homeserver.services import peeked_rooms, peeking
from storage import peeks
from tests.kit.server import Client, RunningServer, plain_config, running, segment
from tests.kit.sync_calls import bodies, create, join, news, put, say, section, state, sync

VISIBILITY = "m.room.history_visibility"
OPEN = {"history_visibility": "world_readable"}
UNSTABLE = "/unstable/org.matrix.msc2753"


async def open_room(client: Client, **options: object) -> str:
    visible = {"type": VISIBILITY, "state_key": "", "content": OPEN}
    return await create(client, initial_state=[visible], **options)


async def peek(client: Client, room: str) -> Any:
    return await client.post(f"/v3/peek/{segment(room)}")


async def unpeek(client: Client, room_id: str) -> None:
    await client.post(f"/v3/unpeek/{segment(room_id)}")


async def rows(server: RunningServer) -> int:
    async with server.database.read() as conn:
        count: int = await conn.fetchval("SELECT count(*) FROM peeks")
    return count


async def looking(server: RunningServer) -> tuple[Client, Client, str, str]:
    """Alice's room, into which Bob looks, and where he stands."""
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await open_room(alice)
    await peek(bob, room_id)
    return alice, bob, room_id, (await sync(bob))["next_batch"]


async def test_a_look_into_a_room(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await open_room(alice)
    since = (await sync(bob))["next_batch"]
    told = await peek(bob, room_id)
    assert told["room_id"] == room_id
    first = await news(bob, since, room_id, "peek")
    seen = section(first, room_id, "peek")
    assert seen["timeline"]["events"][0]["type"] == "m.room.create"
    assert seen["summary"]["m.joined_member_count"] == 1
    assert "join" not in first["rooms"]
    assert "rooms" not in await sync(bob, first["next_batch"])
    waiting = asyncio.create_task(news(bob, first["next_batch"], room_id, "peek"))
    await say(alice, room_id, "hello")
    answer = await waiting
    assert bodies(section(answer, room_id, "peek")) == ["hello"]
    assert section(answer, room_id, "peek")["timeline"]["limited"] is False
    await put(alice, room_id, "m.room.topic", {"topic": "of the day"})
    for body in "abc":
        await say(alice, room_id, body)
    short = {"room": {"timeline": {"limit": 1}}}
    gappy = section(await sync(bob, answer["next_batch"], short), room_id, "peek")
    assert (bodies(gappy), gappy["timeline"]["limited"]) == (["c"], True)
    assert state(gappy) == {("m.room.topic", ""): {"topic": "of the day"}}
    anew = section(await sync(bob, wanted=short), room_id, "peek")
    assert state(anew)["m.room.topic", ""] == {"topic": "of the day"}
    assert bodies(section(await sync(bob, answer["next_batch"], full_state="true"), room_id, "peek"))


async def test_a_wait_is_ended_by_what_is_seen(server: RunningServer) -> None:
    alice, bob, room_id, since = await looking(server)
    waiting = asyncio.create_task(bob.get("/v3/sync", since=since, timeout=20_000))
    await alice.get("/v3/account/whoami")  # so that he waits
    await say(alice, room_id, "hello")
    assert bodies(section(await waiting, room_id, "peek")) == ["hello"]


async def test_a_first_sync_tells_it_at_length(server: RunningServer) -> None:
    alice, bob, room_id, _ = await looking(server)
    for body in "abcdefgh":
        await say(alice, room_id, body)
    assert bodies(section(await sync(bob), room_id, "peek")) == list("abcdefgh")


async def test_by_alias_and_by_the_names_of_the_proposal(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await open_room(alice, room_alias_name="window")
    alias = "#window:localhost"
    for method, path, body in (
        ("POST", f"/v3/peek/{segment(alias)}", None),
        ("POST", f"{UNSTABLE}/peek/{segment(room_id)}", None),
        ("POST", f"{UNSTABLE}/peek_room", {"room": alias, "servers": ["localhost"]}),
    ):
        told = await bob.do(method, path, body)
        assert told["room_id"] == room_id
        assert told["peek_expiry_ts"] > 1_700_000_000_000
    await bob.post(f"{UNSTABLE}/rooms/{segment(room_id)}/unpeek")
    await peek(bob, room_id)
    await bob.post(f"{UNSTABLE}/unpeek/{segment(room_id)}")
    features = (await bob.get("/_matrix/client/versions"))["unstable_features"]
    assert features["org.matrix.msc2753"] is True


async def test_guests_may_look(server: RunningServer) -> None:
    alice = await server.register("alice")
    guest = server.with_token(await server.anonymous().post("/v3/register", kind="guest"))
    room_id = await open_room(alice)
    await peek(guest, room_id)
    assert room_id in (await sync(guest))["rooms"]["peek"]


@pytest.mark.parametrize("visibility", ["shared", "invited", "joined"])
async def test_closed_rooms(server: RunningServer, visibility: str) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await open_room(alice)
    await put(alice, room_id, VISIBILITY, {"history_visibility": visibility})
    assert await bob.refused("POST", f"/v3/peek/{segment(room_id)}") == (403, "M_FORBIDDEN")


async def test_refusals(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await open_room(alice)
    for path, refusal in (
        ("peek/!nowhere:localhost", (404, "M_NOT_FOUND")),
        ("peek/nonsense", (400, "M_INVALID_PARAM")),
        (f"unpeek/{segment(room_id)}", (400, "M_BAD_STATE")),
        ("unpeek/!nowhere:localhost", (400, "M_BAD_STATE")),
    ):
        assert await bob.refused("POST", f"/v3/{path}") == refusal, path
    assert await alice.refused("POST", f"/v3/peek/{segment(room_id)}") == (400, "M_BAD_STATE")
    assert await bob.refused("POST", f"{UNSTABLE}/peek_room", {}) == (400, "M_MISSING_PARAM")


async def test_other_devices_and_users_see_nothing(server: RunningServer) -> None:
    alice, bob, room_id, since = await looking(server)
    other, eve = await server.login(bob.user_id), await server.register("eve")
    places = {client: (await sync(client))["next_batch"] for client in (other, eve)}
    await say(alice, room_id, "hello")
    assert bodies(section(await sync(bob, since), room_id, "peek")) == ["hello"]
    for client, place in places.items():
        assert "rooms" not in await sync(client)
        assert "rooms" not in await sync(client, place)


async def test_only_what_the_world_could_read(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await create(alice)
    await say(alice, room_id, "for members")
    await put(alice, room_id, VISIBILITY, OPEN)
    await say(alice, room_id, "for all")
    await peek(bob, room_id)
    since = (answer := await sync(bob))["next_batch"]
    assert bodies(section(answer, room_id, "peek")) == ["for all"]
    await put(alice, room_id, VISIBILITY, {"history_visibility": "joined"})
    await say(alice, room_id, "secret")
    await put(alice, room_id, VISIBILITY, OPEN)
    seen = section(await sync(bob, since), room_id, "peek")
    assert bodies(seen) == []
    assert len(seen["timeline"]["events"]) == 2  # both changes are the world's to see


async def test_looking_away(server: RunningServer) -> None:
    alice, bob, room_id, since = await looking(server)
    await say(alice, room_id, "seen")
    await unpeek(bob, room_id)
    await say(alice, room_id, "unseen")
    answer = await sync(bob, since)
    assert "peek" not in answer["rooms"]
    for again in (answer, await sync(bob, since)):  # the answer may have been lost
        assert bodies(section(again, room_id, "leave")) == ["seen"]
    assert "rooms" not in await sync(bob, answer["next_batch"])
    await say(alice, room_id, "unseen either")
    assert "rooms" not in await sync(bob, answer["next_batch"])
    assert await rows(server) == 0
    await peek(bob, room_id)
    anew = section(await sync(bob, answer["next_batch"]), room_id, "peek")
    assert bodies(anew) == ["seen", "unseen", "unseen either"]
    assert anew["timeline"]["limited"] is True
    await unpeek(bob, room_id)
    assert "rooms" not in await sync(bob)  # who begins anew knows of no room


async def test_looking_twice_goes_on(server: RunningServer) -> None:
    alice, bob, room_id, since = await looking(server)
    await peek(bob, room_id)
    assert "rooms" not in await sync(bob, since)
    await say(alice, room_id, "hello")
    seen = section(await sync(bob, since), room_id, "peek")
    assert bodies(seen) == ["hello"]
    assert len(seen["timeline"]["events"]) == 1


async def test_looking_away_before_anything_was_told(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id, since = await open_room(alice), (await sync(bob))["next_batch"]
    await peek(bob, room_id)
    await unpeek(bob, room_id)
    told = section(await sync(bob, since), room_id, "leave")
    assert told["timeline"]["events"] == told["state"]["events"] == []


async def test_a_room_that_closes(server: RunningServer) -> None:
    alice, bob, room_id, since = await looking(server)
    await say(alice, room_id, "seen")
    closing = await put(alice, room_id, VISIBILITY, {"history_visibility": "shared"})
    await say(alice, room_id, "secret")
    answer = await sync(bob, since)
    assert "peek" not in answer["rooms"]
    events = section(answer, room_id, "leave")["timeline"]["events"]
    assert events[-1]["event_id"] == closing
    assert bodies(section(answer, room_id, "leave")) == ["seen"]
    await say(alice, room_id, "another secret")
    assert "rooms" not in await sync(bob, answer["next_batch"])
    assert await rows(server) == 0
    await put(alice, room_id, VISIBILITY, OPEN)
    assert "rooms" not in await sync(bob, answer["next_batch"])


async def test_who_enters_looks_no_more(server: RunningServer) -> None:
    alice, bob, room_id, since = await looking(server)
    await join(bob, room_id)
    answer = await sync(bob, since)
    assert set(answer["rooms"]) == {"join"}
    await bob.post(f"/v3/rooms/{segment(room_id)}/leave")
    left = await sync(bob, answer["next_batch"])
    assert set(left["rooms"]) == {"leave"}
    await say(alice, room_id, "unseen")
    assert "rooms" not in await sync(bob, left["next_batch"])
    assert "rooms" not in await sync(bob, left["next_batch"])
    assert await rows(server) == 0
    assert set((await sync(bob, since))["rooms"]) == {"leave"}


async def test_who_came_and_went_may_look_again(server: RunningServer) -> None:
    alice, bob, room_id, since = await looking(server)
    await join(bob, room_id)
    await bob.post(f"/v3/rooms/{segment(room_id)}/leave")
    await peek(bob, room_id)
    await say(alice, room_id, "seen")
    assert bodies(section(await sync(bob, since), room_id, "peek")) == ["seen"]


async def test_who_is_invited_goes_on_looking(server: RunningServer) -> None:
    alice, bob, room_id, since = await looking(server)
    await alice.post(f"/v3/rooms/{segment(room_id)}/invite", {"user_id": bob.user_id})
    answer = await sync(bob, since)
    assert set(answer["rooms"]) == {"invite", "peek"}
    await unpeek(bob, room_id)
    assert set((await sync(bob, since))["rooms"]) == {"invite"}


async def test_the_end_of_a_device(server: RunningServer) -> None:
    _, bob, _, _ = await looking(server)
    assert await rows(server) == 1
    await bob.post("/v3/logout")
    assert await rows(server) == 0


async def test_filters(server: RunningServer) -> None:
    alice, bob, room_id, since = await looking(server)
    await say(alice, room_id, "hello")
    assert "rooms" not in await sync(bob, since, {"room": {"rooms": []}})
    lazy = {"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 1}}}
    seen = section(await sync(bob, wanted=lazy), room_id, "peek")
    members = [key for kind, key in state(seen) if kind == "m.room.member"]
    assert members == [alice.user_id]


async def test_as_many_as_a_device_may(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest make room, and the client is told."""
    monkeypatch.setattr(peeking, "MOST_PEEKS", 2)
    alice, bob = await server.register("alice"), await server.register("bob")
    rooms = [await open_room(alice) for _ in range(4)]
    for room_id in rooms[:2]:
        await peek(bob, room_id)
    since = (await sync(bob))["next_batch"]
    await peek(bob, rooms[2])
    told = (await sync(bob, since))["rooms"]
    assert (set(told["peek"]), set(told["leave"])) == ({rooms[2]}, {rooms[0]})
    for room_id in rooms:
        await peek(bob, room_id)
        await unpeek(bob, room_id)
    assert await rows(server) <= 4


async def test_what_nobody_renews_ends(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob, room_id, since = await looking(server)
    monkeypatch.setattr(peeked_rooms, "now_ms", lambda: 4_000_000_000_000)
    await say(alice, room_id, "seen")
    answer = await sync(bob, since)
    assert bodies(section(answer, room_id, "peek")) == ["seen"]
    answer = await news(bob, answer["next_batch"], room_id, "leave")
    await say(alice, room_id, "unseen")
    assert "rooms" not in await sync(bob, answer["next_batch"])


async def test_after_a_restart(pg_url: str, tmp_path: Path) -> None:
    async with running(pg_url, plain_config(tmp_path)) as server:
        alice, bob, room_id, since = await looking(server)
        await say(alice, room_id, "before")
    async with running(pg_url, plain_config(tmp_path)) as server:
        for client in (alice, bob):
            client.url, client.http = server.url, server.http
        answer = await sync(bob, since)
        assert bodies(section(answer, room_id, "peek")) == ["before"]
        waiting = asyncio.create_task(news(bob, answer["next_batch"], room_id, "peek"))
        await say(alice, room_id, "after")
        assert bodies(section(await waiting, room_id, "peek")) == ["after"]


async def test_who_looks_nowhere_is_asked_for_once(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    for name in ("rooms_of_user", "of_device"):
        original = getattr(peeks, name)

        def noted(*given: Any, name: str = name, original: Any = original) -> Any:
            asked.append(name)
            return original(*given)

        monkeypatch.setattr(peeks, name, noted)
    alice = await server.register("alice")
    room_id = await open_room(alice)
    since = None
    for number in range(5):
        await say(alice, room_id, f"{number}")
        since = (await sync(alice, since))["next_batch"]
    assert asked == ["rooms_of_user"]
