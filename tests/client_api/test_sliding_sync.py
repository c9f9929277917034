"""Stories of sliding sync over HTTP [MSC4186]."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from attrs import define, field

from homeserver.services.sliding.gather import Round, SlidingGather
from tests.kit.server import Client, RunningServer, segment
from tests.kit.sync_calls import create, join, pair, put, say

BEFORE = "/unstable/org.matrix.simplified_msc3575/sync"
NOW = "/v4/sync"
EVERYTHING = {"include": [{}]}


@define
class Connection:
    """A client's connection, in the accepted form or the one before."""

    client: Client
    before: bool = False
    conn_id: str | None = None
    pos: str | None = None
    body: dict[str, Any] = field(factory=dict)

    async def ask(self, timeout: int = 0, pos: str | None = None, **more: Any) -> Any:
        """One request; without lists of its own it repeats the last ones."""
        self.body |= more
        pos = pos or self.pos
        body = {**self.body, **({"conn_id": self.conn_id} if self.conn_id else {})}
        if self.before:
            answer = await self.client.post(BEFORE, body, pos=pos, timeout=timeout)
        else:
            if pos is not None:
                body["pos"] = pos
            answer = await self.client.post(NOW, {**body, "timeout": timeout})
        self.pos = answer["pos"]
        return answer


def window(end: int = 19, limit: int = 1, state: Any = None, **filters: Any) -> dict[str, Any]:
    """One list, of the newest rooms."""
    required = {"include": [{"type": "m.room.name", "state_key": ""}]} if state is None else state
    wish = {"range": [0, end], "timeline_limit": limit, "required_state": required}
    return {"all": {**wish, **({"filters": filters} if filters else {})}}


def bodies(room: Mapping[str, Any]) -> list[Any]:
    return [event["content"].get("body") for event in room["timeline"]]


def keys(room: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(event["type"], event["state_key"]) for event in room.get("required_state", ())}


@pytest.mark.parametrize("before", [True, False])
async def test_a_window_of_rooms_and_what_is_new_in_it(server: RunningServer, before: bool) -> None:
    alice, bob, room_id = await pair(server)
    await put(alice, room_id, "m.room.name", {"name": "Den"})
    await say(alice, room_id, "m1")
    connection = Connection(bob, before)
    first = await connection.ask(lists=window())
    assert first["lists"] == {"all": {"count": 1}}
    room = first["rooms"][room_id]
    assert room["initial"] is True
    assert room["name"] == "Den"
    assert room["joined_count"] == 2
    assert bodies(room) == ["m1"]
    assert room["limited"] is True
    assert room["num_live"] == 0
    assert keys(room) == {("m.room.name", "")}
    assert "heroes" not in room
    assert ("notification_count" in room) is before
    assert room.get("lists") == (None if before else ["all"])
    waiting = asyncio.ensure_future(connection.ask(timeout=10_000))
    await say(alice, room_id, "m2")
    room = (await waiting)["rooms"][room_id]
    assert "initial" not in room
    assert bodies(room) == ["m2"]
    assert room["num_live"] == 1
    assert "name" not in room
    assert "required_state" not in room
    quiet = await connection.ask()
    assert quiet["rooms"] == {}
    page = await bob.get(f"/v3/rooms/{segment(room_id)}/messages", dir="b", **{"from": quiet["pos"]})
    assert page["chunk"][0]["content"]["body"] == "m2"


async def test_deleted_state_is_told_by_a_stub_and_old_words_are_understood(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    await put(alice, room_id, "m.room.topic", {"topic": "x"})
    words = [["m.room.topic", "*"], ["m.room.member", "$ME"], ["m.room.member", "$LAZY"]]
    connection = Connection(bob)
    room = (await connection.ask(lists=window(limit=1, state=words)))["rooms"][room_id]
    assert keys(room) == {
        ("m.room.topic", ""),
        ("m.room.member", bob.user_id),
        ("m.room.member", alice.user_id),
    }
    everything = await connection.ask(
        lists=window(limit=1, state={"include": [{}], "exclude": [{"type": "m.room.topic"}]})
    )
    room = everything["rooms"][room_id]
    assert ("m.room.create", "") in keys(room)
    assert ("m.room.topic", "") not in keys(room)
    assert "timeline" not in room


async def test_lazy_members_come_with_who_speaks_once(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    lazy = {"include": [{"type": "m.room.topic", "state_key": ""}], "lazy_members": True}
    connection = Connection(bob)
    room = (await connection.ask(lists=window(limit=1, state=lazy)))["rooms"][room_id]
    assert keys(room) == {("m.room.member", bob.user_id)}
    await say(alice, room_id, "one")
    assert keys((await connection.ask())["rooms"][room_id]) == {("m.room.member", alice.user_id)}
    await say(alice, room_id, "two")
    assert keys((await connection.ask())["rooms"][room_id]) == set()


async def test_a_lost_answer_is_told_again(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    connection = Connection(bob)
    first = (await connection.ask(lists=window()))["pos"]
    other = await create(bob, name="Other")
    await say(alice, room_id, "new")
    lost = await connection.ask()
    again = await connection.ask(pos=first)
    for answer in (lost, again):
        assert bodies(answer["rooms"][room_id]) == ["new"]
        assert answer["rooms"][other]["initial"] is True
    assert (await connection.ask())["rooms"] == {}


async def test_positions_are_bound_to_their_device_and_connection(server: RunningServer) -> None:
    alice, bob, _ = await pair(server)
    mine = Connection(bob, conn_id="one")
    pos = (await mine.ask(lists=window()))["pos"]
    for thief in (Connection(alice, conn_id="one"), Connection(await server.login(bob.user_id), conn_id="one"),
                  Connection(bob, conn_id="two"), Connection(bob)):  # fmt: skip
        body = {"pos": pos, **({"conn_id": thief.conn_id} if thief.conn_id else {})}
        assert await thief.client.refused("POST", NOW, body) == (400, "M_UNKNOWN_POS")
        assert await thief.client.refused("POST", BEFORE, {"conn_id": thief.conn_id or ""}, pos=pos) == (
            400,
            "M_UNKNOWN_POS",
        )
    for wrong in ("x", "s5", "p1_2", f"p99999999_{pos.split('_')[1]}_0"):
        assert await bob.refused("POST", NOW, {"pos": wrong, "conn_id": "one"}) == (400, "M_UNKNOWN_POS")
    assert (await mine.ask())["rooms"] == {}
    await Connection(bob, conn_id="one").ask(lists=window())  # which begins anew
    assert await bob.refused("POST", NOW, {"pos": pos, "conn_id": "one"}) == (400, "M_UNKNOWN_POS")


async def test_windows_grow_and_rooms_catch_up(server: RunningServer) -> None:
    alice = await server.register()
    rooms = [await create(alice, name=f"Room {number}") for number in range(4)]
    connection = Connection(alice)
    first = await connection.ask(lists=window(1))
    assert first["lists"]["all"]["count"] == 4
    assert set(first["rooms"]) == {rooms[3], rooms[2]}
    assert set((await connection.ask(lists=window(9)))["rooms"]) == {rooms[1], rooms[0]}
    assert (await connection.ask(lists=window(0)))["rooms"] == {}
    await say(alice, rooms[0], "missed")
    await say(alice, rooms[1], "seen")
    assert set((await connection.ask())["rooms"]) == {rooms[1]}
    late = (await connection.ask(lists=window(9)))["rooms"]
    assert {room_id: bodies(room) for room_id, room in late.items()} == {rooms[0]: ["missed"]}
    assert "initial" not in late[rooms[0]]


async def test_a_larger_timeline_is_told_at_once(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    for number in range(5):
        await say(alice, room_id, f"m{number}")
    connection = Connection(bob)
    await connection.ask(lists=window(limit=1))
    wish = {"timeline_limit": 3, "required_state": {}}
    room = (await connection.ask(timeout=10_000, room_subscriptions={room_id: wish}))["rooms"][room_id]
    assert room["expanded_timeline"] is True
    assert bodies(room) == ["m2", "m3", "m4"]
    assert room["num_live"] == 0
    await say(alice, room_id, "m5")
    room = (await connection.ask())["rooms"][room_id]
    assert bodies(room) == ["m5"]
    assert "expanded_timeline" not in room
    older = Connection(bob, before=True, conn_id="older")
    await older.ask(lists=window(limit=1))
    room = (await older.ask(lists=window(limit=2)))["rooms"][room_id]
    assert room["unstable_expanded_timeline"] is True


async def test_an_invitation_a_join_and_a_kick(server: RunningServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    connection, older = Connection(bob), Connection(bob, before=True, conn_id="older")
    await connection.ask(lists=window(state=EVERYTHING))
    await older.ask(lists=window(state=EVERYTHING))
    room_id = await create(alice, preset="private_chat", name="Den", invite=[bob.user_id])
    room = (await connection.ask(timeout=10_000))["rooms"][room_id]
    assert room["membership"] == "invite"
    assert {event["type"] for event in room["stripped_state"]} >= {"m.room.name", "m.room.member"}
    assert room.keys().isdisjoint({"timeline", "required_state", "joined_count"})
    assert "invite_state" in (await older.ask(timeout=10_000))["rooms"][room_id]
    await join(bob, room_id)
    room = (await connection.ask())["rooms"][room_id]
    assert (room["initial"], room["membership"], room["name"]) == (True, "join", "Den")
    await alice.post(f"/v3/rooms/{segment(room_id)}/kick", {"user_id": bob.user_id, "reason": "away"})
    await put(alice, room_id, "m.room.name", {"name": "Secret"})
    room = (await connection.ask())["rooms"][room_id]
    assert room["membership"] == "leave"
    assert room["timeline"][-1]["content"]["reason"] == "away"
    fresh = (await Connection(bob, conn_id="fresh").ask(lists=window(state=EVERYTHING)))["rooms"][room_id]
    assert (fresh["initial"], fresh["membership"], fresh["name"]) == (True, "leave", "Den")
    assert (await connection.ask())["rooms"] == {}


async def test_who_leaves_is_told_once_and_strangers_rooms_are_not_told(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    connection = Connection(bob)
    await connection.ask(lists=window())
    await bob.post(f"/v3/rooms/{segment(room_id)}/leave")
    assert (await connection.ask())["rooms"][room_id]["membership"] == "leave"
    subscribed = {room_id: {"timeline_limit": 1, "required_state": EVERYTHING}}
    await say(alice, room_id, "secret")
    assert (await Connection(bob, conn_id="new").ask(lists=window(), room_subscriptions=subscribed))[
        "rooms"
    ] == {}
    eve = Connection(await server.register())
    assert (await eve.ask(room_subscriptions=subscribed))["rooms"] == {}


async def test_filters(server: RunningServer) -> None:
    alice = await server.register("alice")
    bob = await server.register("bob")
    plain = await create(alice, name="Plain")
    encryption = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    secret = await create(alice, name="Secret den", initial_state=[encryption])
    space = await create(alice, name="Space", creation_content={"type": "m.space"})
    await put(alice, space, "m.space.child", {"via": ["localhost"]}, secret)
    invited = await create(bob, preset="private_chat", name="Come", invite=[alice.user_id])
    user = f"/v3/user/{segment(alice.user_id)}"
    await alice.put(f"{user}/account_data/m.direct", {bob.user_id: [secret]})
    await alice.put(f"{user}/rooms/{segment(plain)}/tags/m.favourite", {})

    async def found(**filters: Any) -> set[str]:
        answer = await connection.ask(lists=window(**filters))
        assert answer["lists"]["all"]["count"] == len(wanted)
        return wanted

    connection = Connection(alice)
    for filters, wanted in (
        ({}, {plain, secret, space, invited}),
        ({"is_dm": True}, {secret}),
        ({"is_dm": False, "is_invited": False}, {plain, space}),
        ({"is_invite": True}, {invited}),
        ({"is_encrypted": True}, {secret}),
        ({"is_encrypted": False, "is_invited": False}, {plain, space}),
        ({"room_types": ["m.space"]}, {space}),
        ({"room_types": [None], "is_invited": False}, {plain, secret}),
        ({"not_room_types": ["m.space"]}, {plain, secret, invited}),
        ({"room_types": ["m.space"], "not_room_types": ["m.space"]}, set()),
        ({"tags": ["m.favourite"]}, {plain}),
        ({"not_tags": ["m.favourite"]}, {secret, space, invited}),
        ({"spaces": [space]}, {secret}),
        ({"spaces": ["!unknown:localhost"]}, set()),
        ({"room_name_like": "DEN"}, {secret}),
    ):
        fresh = await Connection(alice, conn_id="fresh").ask(lists=window(**filters))
        assert set(fresh["rooms"]) == wanted, filters
        await found(**filters)  # the same list, told on as the filters change
    await put(alice, plain, "m.room.encryption", encryption["content"])
    await put(alice, space, "m.space.child", {}, secret)
    assert (await connection.ask(lists=window(is_encrypted=True)))["lists"]["all"]["count"] == 2
    assert (await connection.ask(lists=window(spaces=[space])))["lists"]["all"]["count"] == 0
    await alice.put(f"{user}/account_data/m.direct", {})
    answer = await connection.ask(lists=window())
    assert answer["rooms"][secret]["is_dm"] is False


async def test_extensions(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    event_id = await say(alice, room_id, "hello")
    extensions = {
        name: {"enabled": True} for name in ("account_data", "receipts", "typing", "e2ee", "to_device")
    }
    user = f"/v3/user/{segment(bob.user_id)}"
    await bob.put(f"{user}/rooms/{segment(room_id)}/tags/u.x", {})
    path = f"/v3/rooms/{segment(room_id)}"
    await alice.post(f"{path}/receipt/m.read/{segment(event_id)}")
    connection = Connection(bob)
    first = (await connection.ask(lists=window(), extensions=extensions))["extensions"]
    assert [event["type"] for event in first["account_data"]["global"]] == ["m.push_rules"]
    assert [event["type"] for event in first["account_data"]["rooms"][room_id]] == ["m.tag"]
    assert alice.user_id in first["receipts"]["rooms"][room_id]["content"][event_id]["m.read"]
    assert first["e2ee"]["device_one_time_keys_count"] == {"signed_curve25519": 0}
    assert first["to_device"]["events"] == []
    waiting = asyncio.ensure_future(connection.ask(timeout=10_000))
    await alice.put(f"{path}/typing/{segment(alice.user_id)}", {"typing": True, "timeout": 30_000})
    told = (await waiting)["extensions"]
    assert told["typing"]["rooms"][room_id]["content"] == {"user_ids": [alice.user_id]}
    assert told.keys() <= {"typing", "e2ee", "to_device"}
    await bob.put(f"{user}/account_data/m.x", {"a": 1})
    await bob.post(f"{path}/receipt/m.read.private/{segment(event_id)}")
    told = (await connection.ask())["extensions"]
    assert told["account_data"] == {"global": [{"type": "m.x", "content": {"a": 1}}]}
    assert told["receipts"]["rooms"][room_id]["content"][event_id]["m.read.private"].keys() == {bob.user_id}
    extensions["receipts"] = {"enabled": True, "lists": [], "rooms": []}
    await alice.put(f"{path}/typing/{segment(alice.user_id)}", {"typing": False})
    await alice.post(f"{path}/receipt/m.read.private/{segment(event_id)}")
    told = (await connection.ask(extensions=extensions))["extensions"]
    assert told["typing"]["rooms"][room_id]["content"] == {"user_ids": []}
    assert "receipts" not in told


async def test_the_inbox_is_told_until_it_is_acknowledged(server: RunningServer) -> None:
    alice, bob, _ = await pair(server)

    async def send(number: int) -> None:
        content = {bob.user_id: {bob.device_id: {"number": number}}}
        await alice.put(f"/v3/sendToDevice/m.x/{number}", {"messages": content})

    def numbers(answer: Any) -> list[int]:
        return [event["content"]["number"] for event in answer["extensions"]["to_device"]["events"]]

    for number in range(3):
        await send(number)
    wish: dict[str, Any] = {"enabled": True, "limit": 2}
    connection = Connection(bob, conn_id="encryption")
    first = await connection.ask(extensions={"to_device": wish})
    assert numbers(first) == [0, 1]
    assert numbers(await connection.ask(extensions={"to_device": wish})) == [0, 1]
    wish["since"] = first["extensions"]["to_device"]["next_batch"]
    second = await connection.ask(extensions={"to_device": wish}, timeout=10_000)
    assert numbers(second) == [2]
    wish["since"] = second["extensions"]["to_device"]["next_batch"]
    waiting = asyncio.ensure_future(connection.ask(extensions={"to_device": wish}, timeout=10_000))
    await send(3)
    assert numbers(await waiting) == [3]
    v3 = await bob.get("/v3/sync")
    assert [event["content"]["number"] for event in v3["to_device"]["events"]] == [3]


async def test_a_message_that_is_told_from_memory_moves_the_inbox_on(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, room_id = await pair(server)
    wish: dict[str, Any] = {"enabled": True}
    connection = Connection(bob, before=True)
    extensions = {"to_device": wish, "e2ee": {"enabled": True}}
    first = await connection.ask(lists=window(state=[]), extensions=extensions)
    wish["since"] = first["extensions"]["to_device"]["next_batch"]
    with monkeypatch.context() as patch:
        patch.setattr(SlidingGather, "gather", no_gathering)
        waiting = asyncio.ensure_future(connection.ask(timeout=10_000))
        await say(alice, room_id, "hi")
        answer = await waiting
    assert bodies(answer["rooms"][room_id]) == ["hi"]
    assert answer["rooms"][room_id]["notification_count"] == 1
    assert answer["extensions"]["to_device"] == {"next_batch": answer["pos"][1:].split("_")[0], "events": []}
    assert "device_one_time_keys_count" in answer["extensions"]["e2ee"]
    wish["since"] = answer["extensions"]["to_device"]["next_batch"]
    await alice.put("/v3/sendToDevice/m.x/1", {"messages": {bob.user_id: {bob.device_id: {}}}})
    await say(alice, room_id, "both")
    answer = await connection.ask(timeout=10_000)
    assert len(answer["extensions"]["to_device"]["events"]) == 1
    assert bodies(answer["rooms"][room_id]) == ["both"]


async def no_gathering(gather: SlidingGather, asked: Round) -> None:
    pytest.fail("the database was asked")


async def test_device_lists_of_rooms_outside_of_windows(server: RunningServer) -> None:
    alice, bob, _ = await pair(server)
    connection = Connection(bob, conn_id="encryption")
    await connection.ask(extensions={"e2ee": {"enabled": True}})
    keys = {
        "device_keys": {
            "user_id": alice.user_id,
            "device_id": alice.device_id,
            "algorithms": [],
            "keys": {},
            "signatures": {},
        }
    }
    await alice.ask("POST", "/v3/keys/upload", keys)
    carol = await server.register()
    room_id = await create(bob)
    await connection.ask()
    await join(carol, room_id)
    told = await connection.ask(timeout=10_000)
    assert told["extensions"]["e2ee"]["device_lists"]["changed"] == [carol.user_id]
    await carol.post(f"/v3/rooms/{segment(room_id)}/leave")
    told = await connection.ask(timeout=10_000)
    assert told["extensions"]["e2ee"]["device_lists"]["left"] == [carol.user_id]


async def test_subscriptions_that_are_told_once_stay_until_they_are_ended(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    wish = {"timeline_limit": 1, "required_state": []}
    connection = Connection(bob, before=True)
    await connection.ask(room_subscriptions={room_id: wish})
    connection.body.clear()
    await say(alice, room_id, "one")
    assert room_id in (await connection.ask())["rooms"]
    connection.body["unsubscribe_rooms"] = [room_id]
    await connection.ask()
    connection.body.clear()
    await say(alice, room_id, "two")
    assert (await connection.ask())["rooms"] == {}


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"lists": []}, "M_BAD_JSON"),
        ({"lists": {"a": {"range": [0, -1]}}}, "M_INVALID_PARAM"),
        ({"lists": {"a": {"range": [5, 1]}}}, "M_INVALID_PARAM"),
        ({"lists": {"a": {"range": [0]}}}, "M_BAD_JSON"),
        ({"lists": {"a": {"timeline_limit": "1"}}}, "M_BAD_JSON"),
        ({"lists": {"a": {"timeline_limit": -1}}}, "M_INVALID_PARAM"),
        ({"lists": {"a": {"required_state": "x"}}}, "M_BAD_JSON"),
        ({"lists": {"a": {"required_state": [["x"]]}}}, "M_BAD_JSON"),
        ({"lists": {"a": {"required_state": {"include": [5]}}}}, "M_BAD_JSON"),
        ({"lists": {"a": {"required_state": [["m.x\u0000", ""]]}}}, "M_BAD_JSON"),
        ({"lists": {"a": {"filters": {"is_dm": "yes"}}}}, "M_BAD_JSON"),
        ({"lists": {f"l{number}": {} for number in range(101)}}, "M_INVALID_PARAM"),
        ({"room_subscriptions": {f"!r{number}:x": {} for number in range(101)}}, "M_INVALID_PARAM"),
        ({"extensions": {"to_device": {"enabled": True, "since": "x"}}}, "M_INVALID_PARAM"),
        ({"extensions": {"profiles": {"enabled": True, "fields": "displayname"}}}, "M_BAD_JSON"),
        ({"extensions": {"org.matrix.msc4262.profiles": {"enabled": 1}}}, "M_BAD_JSON"),
        ({"timeout": -1}, "M_INVALID_PARAM"),
        ({"timeout": "1"}, "M_BAD_JSON"),
        ({"set_presence": "busy"}, "M_INVALID_PARAM"),
        ({"conn_id": "x" * 256}, "M_INVALID_PARAM"),
        ({"conn_id": 5}, "M_BAD_JSON"),
    ],
)
async def test_what_is_refused(server: RunningServer, body: Any, errcode: str) -> None:
    alice = await server.register()
    assert await alice.refused("POST", NOW, body) == (400, errcode)


async def test_clients_are_told_that_it_is_there(server: RunningServer) -> None:
    features = (await server.anonymous().get("/_matrix/client/versions"))["unstable_features"]
    assert features["org.matrix.simplified_msc3575"] is True
