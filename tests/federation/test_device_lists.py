"""Devices and keys across servers: told, asked for, copied, missed, forged, and out of sight."""

import asyncio

import pytest

from homeserver.core.room_versions import ROOM_VERSIONS
from storage.streams import current_position
from tests.kit.crypto import DeviceCrypto, UserCrypto
from tests.kit.their_devices import USER, changed, keys, names, together, token

V11 = ROOM_VERSIONS["11"]
ONE = "signed_curve25519"


async def copied(homing, peer, client, their):
    """Let a copy be made, and wait for it."""
    await names(client, their.user_id)
    await peer.until(lambda: peer.seen("GET", "/v1/user/devices"))
    async with homing.database.read() as conn:
        while await conn.fetchval("SELECT count(*) FROM remote_device_lists WHERE NOT stale") == 0:
            await conn.fetchval("SELECT pg_sleep(0.01)")
    peer.calls.clear()


async def test_a_copy_answers_and_follows_updates(homing, peer, their):
    bob = await homing.register()
    first = their.device("A")
    await together(homing, peer, bob)
    await copied(homing, peer, bob, their)
    found = await keys(bob, peer.alice)
    assert found["device_keys"] == {peer.alice: {"A": {**first, "unsigned": {}}}}
    assert found["master_keys"] == {peer.alice: their.crossed()["master_key"]}
    assert found["self_signing_keys"] == {peer.alice: their.crossed()["self_signing_key"]}
    since = await token(bob)
    their.device("B")
    told = await their.tell(homing, "B", device_display_name="Phone")
    users, since = await changed(bob, since)
    assert users == [peer.alice]
    found = (await keys(bob, peer.alice))["device_keys"][peer.alice]
    assert sorted(found) == ["A", "B"]
    assert found["B"]["unsigned"] == {"device_display_name": "Phone"}
    await peer.edu(homing.name, "m.device_list_update", told)  # once more
    del their.devices["A"]
    await their.tell(homing, "A")
    users, since = await changed(bob, since)
    assert users == [peer.alice]
    assert await names(bob, peer.alice) == ["B"]
    assert not peer.seen("GET", "/v1/user/devices")
    assert not peer.seen("POST", "/v1/user/keys/query")


async def test_after_a_gap_the_copy_is_fetched_anew(homing, peer, their):
    bob = await homing.register()
    their.device("A")
    await together(homing, peer, bob)
    await copied(homing, peer, bob, their)
    since = await token(bob)
    go = asyncio.Event()

    async def late(call):
        await go.wait()
        return await their.listed(call)

    peer.on("GET", f"{USER}/devices/{{userId}}", late)
    their.device("MISSED")
    their.stream_id += 1
    their.device("B")
    await their.tell(homing, "B")
    users, since = await changed(bob, since)
    assert users == [peer.alice]
    assert await names(bob, peer.alice, patience=500) == ["A", "B", "MISSED"]  # without the slow list
    go.set()
    assert (await changed(bob, since))[0] == [peer.alice]  # what was told in between may have been old
    peer.calls.clear()
    assert await names(bob, peer.alice) == ["A", "B", "MISSED"]
    assert not peer.calls


async def test_an_update_without_a_copy_brings_one(homing, peer, their):
    bob = await homing.register()
    await together(homing, peer, bob)
    since = await token(bob)
    their.device("A")
    await their.tell(homing, "A", prev_id=[])
    assert (await changed(bob, since))[0] == [peer.alice]
    await peer.until(lambda: peer.seen("GET", "/v1/user/devices"))
    assert await names(bob, peer.alice) == ["A"]
    assert not peer.seen("POST", "/v1/user/keys/query")


@pytest.mark.parametrize("back", [True, False], ids=["up", "down"])
async def test_an_update_that_overtakes_the_first_copy_is_told_once(homing, peer, their, back):
    """With the copy that has it, or when that cannot be had."""
    bob = await homing.register()
    await together(homing, peer, bob)
    since = await token(bob)
    asked, more = asyncio.Event(), asyncio.Event()

    async def slowly(call):
        asked.set()
        answer = await their.listed(call)
        peer.on("GET", f"{USER}/devices/{{userId}}", their.listed)
        if not back:
            peer.on("GET", f"{USER}/devices/{{userId}}", {"errcode": "M_UNKNOWN"}, status=500)
        await more.wait()
        return answer

    peer.on("GET", f"{USER}/devices/{{userId}}", slowly)
    their.device("A")
    await their.tell(homing, "A", prev_id=[])
    await asked.wait()
    their.device("B")
    await their.tell(homing, "B")
    more.set()
    users, since = await changed(bob, since)
    assert users == [peer.alice]
    assert len(peer.seen("GET", "/v1/user/devices")) == 2
    if back:
        assert await names(bob, peer.alice) == ["A", "B"]
        answer = await bob.get("/v3/sync", since=since)
        assert "device_lists" not in answer


async def test_an_update_is_heard_of_where_the_list_cannot_be_had(homing, peer, their):
    bob = await homing.register()
    await together(homing, peer, bob)
    since = await token(bob)
    peer.on("GET", f"{USER}/devices/{{userId}}", {"errcode": "M_UNKNOWN"}, status=500)
    await their.tell(homing, "A", prev_id=[])
    assert (await changed(bob, since))[0] == [peer.alice]


async def test_who_asks_brings_a_copy_and_all_hear_of_it(homing, peer, their):
    """Whoever asked before there was a copy may have been told less."""
    bob, carol = await homing.register(), await homing.register()
    their.device("A")
    room = await together(homing, peer, bob)
    await carol.post(f"/v3/join/{room.room_id}")
    since = await token(carol)
    assert await names(bob, peer.alice) == ["A"]
    assert (await changed(carol, since))[0] == [peer.alice]
    assert not peer.seen("POST", "/v1/user/keys/query")
    peer.calls.clear()
    await peer.stop()
    found = await keys(carol, peer.alice)
    assert (list(found["device_keys"][peer.alice]), found["failures"]) == (["A"], {})


async def test_many_of_one_server_are_asked_for_at_once(homing, peer, their):
    bob = await homing.register()
    room = await together(homing, peer, bob)
    crowd = [f"@member{n}:{peer.name}" for n in range(6)]
    for user_id in crowd:
        await peer.join(homing.name, room.room_id, user_id)
    found = await bob.post(
        "/v3/keys/query", {"device_keys": {user_id: [] for user_id in crowd}, "timeout": 5000}
    )
    assert found["failures"] == {}
    assert len(peer.seen("POST", "/v1/user/keys/query")) == 1


async def test_while_the_server_is_gone_an_old_copy_is_better_than_nothing(homing, peer, their):
    bob = await homing.register()
    their.device("A")
    await together(homing, peer, bob)
    await copied(homing, peer, bob, their)

    async def never(call):
        await asyncio.Event().wait()

    peer.on("GET", f"{USER}/devices/{{userId}}", never)
    await their.tell(homing, "B", prev_id=[77])
    await peer.stop()
    found = await keys(bob, peer.alice)
    assert list(found["device_keys"][peer.alice]) == ["A"]
    assert list(found["failures"]) == [peer.name]
    claimed = await bob.post("/v3/keys/claim", {"one_time_keys": {peer.alice: {"A": ONE}}, "timeout": 5000})
    assert claimed["one_time_keys"] == {}
    assert list(claimed["failures"]) == [peer.name]


async def test_what_was_out_of_sight_is_asked_for_again(homing, peer, their):
    bob = await homing.register()
    their.device("A")
    room = await together(homing, peer, bob)
    await copied(homing, peer, bob, their)
    since = await token(bob)
    await peer.leave(homing.name, room, peer.alice)
    answer = await bob.get("/v3/sync", since=since)
    assert answer["device_lists"] == {"left": [peer.alice]}
    their.device("B")  # nobody tells us
    await together(homing, peer, bob)
    assert (await changed(bob, answer["next_batch"]))[0] == [peer.alice]
    assert await names(bob, peer.alice) == ["A", "B"]


async def test_strangers_are_asked_for_and_not_copied(homing, peer, their):
    bob = await homing.register()
    their.device("A")
    assert await names(bob, peer.alice) == ["A"]
    await their.tell(homing, "A")
    async with homing.database.read() as conn:
        assert await conn.fetchval("SELECT count(*) FROM remote_device_lists") == 0
        assert (
            await conn.fetchval(
                "SELECT count(*) FROM device_list_changes WHERE user_nid NOT IN "
                "(SELECT user_nid FROM accounts)"
            )
            == 0
        )


async def test_forged_keys_are_left_out(homing, peer, their):
    bob = await homing.register()
    their.device("A")
    other = DeviceCrypto(peer.alice, "A")
    good = their.devices["A"].device_keys()
    forged = {
        "A": {**good, "signatures": other.device_keys()["signatures"]},
        "B": good,
        "C": DeviceCrypto("@eve:elsewhere.example", "C").device_keys(),
        "D": "nonsense",
        "E": {**DeviceCrypto(peer.alice, "E").device_keys(), "keys": []},
        "GOOD": DeviceCrypto(peer.alice, "GOOD").device_keys(),
    }
    eve = UserCrypto(peer.alice)
    crossed = {
        "master_keys": {peer.alice: their.crossed()["master_key"]},
        "self_signing_keys": {peer.alice: eve.upload()["self_signing_key"]},
    }

    async def answer(call):
        return {"device_keys": {peer.alice: forged, bob.user_id: {"X": good}}, **crossed}

    async def lists(call):
        devices = [{"device_id": name, "keys": value} for name, value in forged.items()]
        named = {usage[:-1]: users[peer.alice] for usage, users in crossed.items()}
        return {"user_id": peer.alice, "stream_id": 5, "devices": [*devices, {}, {"device_id": 7}], **named}

    peer.on("POST", f"{USER}/keys/query", answer)
    peer.on("GET", f"{USER}/devices/{{userId}}", lists)
    for path in ("/v1/user/keys/query", "/v1/user/devices"):  # of a stranger, and of who is in sight
        found = await keys(bob, peer.alice)
        devices = {user: list(devices) for user, devices in found["device_keys"].items()}
        assert devices == {peer.alice: ["GOOD"]}
        assert found["master_keys"] == crossed["master_keys"]
        assert found["self_signing_keys"] == {}
        assert peer.seen("GET", path) or peer.seen("POST", path)
        await together(homing, peer, bob)


async def test_an_old_update_that_comes_again_takes_nothing_back(homing, peer, their):
    bob = await homing.register()
    their.device("A")
    await together(homing, peer, bob)
    await copied(homing, peer, bob, their)
    since = await token(bob)
    their.device("B")
    came = await their.tell(homing, "B", device_display_name="New")
    renamed = await their.tell(homing, "B", device_display_name="Renamed")
    _, since = await changed(bob, since)
    for told in (came, renamed, came):
        await peer.edu(homing.name, "m.device_list_update", told)
    found = (await keys(bob, peer.alice))["device_keys"][peer.alice]
    assert found["B"]["unsigned"] == {"device_display_name": "Renamed"}
    del their.devices["B"]
    gone = await their.tell(homing, "B")
    for told in (came, gone, renamed):
        await peer.edu(homing.name, "m.device_list_update", told)
    assert await names(bob, peer.alice) == ["A"]
    assert not peer.seen("GET", "/v1/user/devices")  # and none is taken for a gap


async def test_updates_that_come_together_are_one_write_in_their_order(homing, peer, their):
    bob = await homing.register()
    their.device("A")
    await together(homing, peer, bob)
    await copied(homing, peer, bob, their)
    since = await token(bob)
    edus = []
    for number in range(30):
        content = {"user_id": peer.alice, "device_id": "A", "stream_id": their.stream_id + 1 + number}
        content |= {"prev_id": [their.stream_id + number], "device_display_name": f"Name {number}"}
        edus.append({"edu_type": "m.device_list_update", "content": {**content, **their_keys(their)}})
    edus.insert(
        3, {"edu_type": "m.device_list_update", "content": {"user_id": bob.user_id, "device_id": "B"}}
    )
    edus.insert(5, {"edu_type": "m.device_list_update", "content": {"user_id": peer.alice}})
    async with homing.database.read() as conn:
        before = await current_position(conn)
    await peer.send(homing.name, edus=edus)
    async with homing.database.read() as conn:
        assert await current_position(conn) == before + 1
    await changed(bob, since)
    found = (await keys(bob, peer.alice))["device_keys"][peer.alice]
    assert found["A"]["unsigned"] == {"device_display_name": "Name 29"}
    assert not peer.seen("GET", "/v1/user/devices")


def their_keys(their):
    return {"keys": their.devices["A"].device_keys()}


async def test_an_update_with_forged_keys_brings_none(homing, peer, their):
    bob = await homing.register()
    first = their.device("A")
    await together(homing, peer, bob)
    await copied(homing, peer, bob, their)
    others = DeviceCrypto(peer.alice, "B")
    forged = {**DeviceCrypto(peer.alice, "B").device_keys(), "signatures": others.device_keys()["signatures"]}
    await their.tell(homing, "B", keys=forged)
    await their.tell(homing, "C", keys=DeviceCrypto("@eve:elsewhere.example", "C").device_keys())
    found = await keys(bob, peer.alice)
    assert found["device_keys"] == {peer.alice: {"A": {**first, "unsigned": {}}}}


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"one_time_keys": []},
        {"one_time_keys": {"@alice": []}},
        {"one_time_keys": {"@alice": {"A": "x"}}},
        {"one_time_keys": {"@alice": {"A": {"other:1": {"key": "x"}}}}},
        {"one_time_keys": {"@alice": {"A": {f"{ONE}:1": 7}}}},
        {"one_time_keys": {"@alice": {"A": {f"{ONE}:1": {"key": 1.5}}}}},
        {"one_time_keys": {"@alice": {"OTHER": {f"{ONE}:1": {"key": "x"}}}}},
        {"one_time_keys": {"@bob": {"B": {f"{ONE}:1": {"key": "x"}}}}},
    ],
)
async def test_what_was_not_claimed_is_not_passed_on(homing, peer, answer):
    bob = await homing.register("bob", device_id="B")
    ids = {"@alice": peer.alice, "@bob": bob.user_id}
    given = answer.get("one_time_keys")
    if isinstance(given, dict):
        answer = {"one_time_keys": {ids[name]: devices for name, devices in given.items()}}

    async def claimed(call):
        return answer

    peer.on("POST", f"{USER}/keys/claim", claimed)
    wanted = {peer.alice: {"A": ONE}, bob.user_id: {"B": ONE}}
    found = await bob.post("/v3/keys/claim", {"one_time_keys": wanted})
    assert found["one_time_keys"] == {}


@pytest.mark.parametrize(
    "broken",
    [
        {"user_id": "@alice:elsewhere.example"},
        {"user_id": 7},
        {"device_id": ""},
        {"device_id": None},
        {"stream_id": "1"},
        {"prev_id": 7},
        {"prev_id": ["x"]},
        {"keys": "x"},
        {"deleted": "x"},
    ],
)
async def test_malformed_updates_change_nothing(homing, peer, their, broken):
    bob = await homing.register()
    their.device("A")
    await together(homing, peer, bob)
    since = await token(bob)
    await their.tell(homing, "A", **broken)
    answer = await bob.get("/v3/sync", since=since)
    assert "device_lists" not in answer


async def test_cross_signing_keys_are_followed(homing, peer, their):
    bob = await homing.register()
    their.device("A")
    await together(homing, peer, bob)
    await copied(homing, peer, bob, their)
    since = await token(bob)
    fresh = UserCrypto(peer.alice)
    new = {name: fresh.upload()[name] for name in ("master_key", "self_signing_key")}
    forged = {**new, "self_signing_key": their.crossed()["self_signing_key"]}
    await peer.edu(homing.name, "m.signing_key_update", {"user_id": peer.alice, **forged})
    await peer.edu(homing.name, "m.signing_key_update", {"user_id": bob.user_id, **new})
    assert (await keys(bob, peer.alice))["master_keys"][peer.alice] == their.crossed()["master_key"]
    await peer.edu(homing.name, "m.signing_key_update", {"user_id": peer.alice, **new})
    assert (await changed(bob, since))[0] == [peer.alice]
    found = await keys(bob, peer.alice)
    assert found["master_keys"] == {peer.alice: new["master_key"]}
    assert found["self_signing_keys"] == {peer.alice: new["self_signing_key"]}
