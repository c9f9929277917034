"""Device keys and one-time keys: published, looked up, claimed once, counted."""

import asyncio

import pytest

from tests.kit.crypto import DeviceCrypto
from tests.kit.server import Client, segment

ONE = "signed_curve25519"


def crypto(client: Client) -> DeviceCrypto:
    return DeviceCrypto(client.user_id, client.device_id)


async def test_device_keys_are_published_and_found(server):
    alice = await server.register("alice", device_id="A", initial_device_display_name="Desk")
    bob = await server.register("bob")
    keys = crypto(alice).device_keys()
    answer = await alice.post("/v3/keys/upload", {"device_keys": {**keys, "unsigned": {"x": 1}}})
    assert answer == {"one_time_key_counts": {ONE: 0}}
    for wanted, named in (([], ["A"]), (["A"], ["A"]), (["B"], [])):
        found = await bob.post("/v3/keys/query", {"device_keys": {alice.user_id: wanted}})
        assert list(found["device_keys"][alice.user_id]) == named
        assert found["failures"] == {}
    found = await bob.post("/v3/keys/query", {"device_keys": {alice.user_id: [], "@none:localhost": []}})
    assert found["device_keys"] == {
        alice.user_id: {"A": {**keys, "unsigned": {"device_display_name": "Desk"}}},
        "@none:localhost": {},
    }


async def test_keys_of_others_are_refused(server):
    alice, eve = await server.register("alice", device_id="A"), await server.register("eve", device_id="E")
    mine, hers = crypto(eve), crypto(alice)
    wrong = DeviceCrypto(eve.user_id, "E")
    bodies = {
        "M_INVALID_PARAM": [
            {"device_keys": hers.device_keys()},
            {"device_keys": mine.device_keys(user_id=alice.user_id)},
            {"device_keys": mine.device_keys(device_id="A")},
            {"one_time_keys": {"nonsense": "key"}},
            {"one_time_keys": {":a": "key"}},
        ],
        "M_INVALID_SIGNATURE": [
            {"device_keys": mine.device_keys(), "one_time_keys": wrong.one_time_keys(1)},
            {"device_keys": mine.device_keys(), "fallback_keys": wrong.one_time_keys(1)},
            {
                "device_keys": mine.device_keys(),
                "one_time_keys": {**mine.one_time_keys(20), **wrong.one_time_keys(1)},
            },
        ],
        "M_BAD_JSON": [
            {"device_keys": []},
            {"device_keys": mine.device_keys(keys={"ed25519:E": 7})},
            {"device_keys": mine.device_keys(algorithms="x")},
            {"device_keys": {"user_id": eve.user_id, "device_id": "E"}},
            {"device_keys": {**mine.device_keys(), "signatures": []}},
            {"device_keys": {**mine.device_keys(), "x": 1.5}},
            {"one_time_keys": {"a:b": 7}},
            {"one_time_keys": {"a:b": {"x": 2**60}}},
        ],
    }
    for errcode, refused in bodies.items():
        for body in refused:
            assert await eve.refused("POST", "/v3/keys/upload", body) == (400, errcode), body
    too_large = {"device_keys": mine.device_keys(x="y" * 66_000)}
    assert await eve.refused("POST", "/v3/keys/upload", too_large) == (413, "M_TOO_LARGE")
    async with server.database.read() as conn:  # and nothing of all this is there
        assert await conn.fetchval("SELECT count(*) FROM device_keys") == 0
        assert await conn.fetchval("SELECT count(*) FROM one_time_keys") == 0


async def test_keys_that_nobody_can_check_are_kept_without_their_signatures(server):
    alice = await server.register("alice", device_id="A")
    keys = crypto(alice).device_keys(keys={"ed25519:A": "no key"})
    once = crypto(alice).one_time_keys(1)
    await alice.post("/v3/keys/upload", {"device_keys": keys, "one_time_keys": once})
    found = await alice.post("/v3/keys/query", {"device_keys": {alice.user_id: []}})
    assert found["device_keys"][alice.user_id]["A"]["signatures"] == {}
    await alice.post("/v3/keys/upload", {"device_keys": crypto(alice).device_keys()})


async def test_a_client_that_lost_its_keys_starts_anew(server):
    """Its token is still good. What is left of the former keys could not be used by anybody."""
    alice, bob = await server.register("alice", device_id="A"), await server.register("bob")
    first, second = crypto(alice), crypto(alice)
    former = first.one_time_keys(3)
    fallback = first.one_time_keys(1, fallback=True)
    body = {"device_keys": first.device_keys(), "one_time_keys": former, "fallback_keys": fallback}
    await alice.post("/v3/keys/upload", body)
    name = min(former)  # clients begin to count anew
    fresh = second.signed({"key": "fresh"})
    body = {"device_keys": second.device_keys(), "one_time_keys": {name: fresh}}
    assert await alice.post("/v3/keys/upload", body) == {"one_time_key_counts": {ONE: 1}}
    found = await bob.post("/v3/keys/query", {"device_keys": {alice.user_id: []}})
    assert found["device_keys"][alice.user_id]["A"] == {**second.device_keys(), "unsigned": {}}
    assert [await claim(bob, alice) for _ in range(2)] == [(name, fresh), None]


async def test_a_signature_of_the_device_itself_is_for_others_to_check(server):
    alice = await server.register("alice", device_id="A")
    forged = {**crypto(alice).device_keys(), "signatures": crypto(alice).device_keys()["signatures"]}
    await alice.post("/v3/keys/upload", {"device_keys": forged})
    found = await alice.post("/v3/keys/query", {"device_keys": {alice.user_id: []}})
    assert found["device_keys"][alice.user_id]["A"] == {**forged, "unsigned": {}}


async def test_a_device_describes_itself_anew(server):
    alice = await server.register("alice", device_id="A")
    first = crypto(alice)
    await alice.post("/v3/keys/upload", {"device_keys": first.device_keys()})
    renamed = first.device_keys(updated="yes")
    answer = await alice.post("/v3/keys/upload", {"device_keys": renamed})
    assert answer == {"one_time_key_counts": {ONE: 0}}
    found = await alice.post("/v3/keys/query", {"device_keys": {alice.user_id: []}})
    assert found["device_keys"][alice.user_id]["A"] == {**renamed, "unsigned": {}}


async def test_a_name_is_given_to_one_key(server):
    alice, bob = await server.register("alice", device_id="A"), await server.register("bob")
    keys = crypto(alice)
    await alice.post("/v3/keys/upload", {"device_keys": keys.device_keys()})
    batch = keys.one_time_keys(3)
    name = min(batch)
    for _ in range(2):
        answer = await alice.post("/v3/keys/upload", {"one_time_keys": batch})
        assert answer["one_time_key_counts"] == {ONE: 3}
    other = {**keys.one_time_keys(2), name: keys.signed({"key": "other"})}
    refusal = await alice.ask("POST", "/v3/keys/upload", {"one_time_keys": other})
    assert (refusal.status, refusal.errcode) == (400, "M_INVALID_PARAM")
    assert refusal.json["error"].startswith(f"One time key {name} already exists")
    claimed = await claim(bob, alice)
    assert claimed == (name, batch[name])
    again = await alice.post(
        "/v3/keys/upload", {"one_time_keys": batch}
    )  # its answer got lost before the claim
    assert again["one_time_key_counts"] == {ONE: 2}
    reused = await alice.post("/v3/keys/upload", {"one_time_keys": {name: other[name]}})
    assert reused["one_time_key_counts"] == {ONE: 3}


async def claim(client: Client, of: Client, algorithm: str = ONE):
    body = {"one_time_keys": {of.user_id: {of.device_id: algorithm}}}
    answer = await client.post("/v3/keys/claim", body)
    assert answer["failures"] == {}
    devices = answer["one_time_keys"].get(of.user_id, {})
    keys = list(devices.get(of.device_id, {}).items())
    assert len(keys) <= 1
    return keys[0] if keys else None


async def test_keys_are_claimed_in_order_and_then_the_fallback_key(server):
    alice, bob = await server.register("alice", device_id="A"), await server.register("bob")
    keys = crypto(alice)
    batches = [keys.one_time_keys(2), keys.one_time_keys(2)]
    fallback = keys.one_time_keys(1, fallback=True)
    await alice.post("/v3/keys/upload", {"device_keys": keys.device_keys(), "fallback_keys": fallback})
    since = (await alice.get("/v3/sync"))["next_batch"]
    assert await told(alice, since) == ({ONE: 0}, [ONE])
    for batch in batches:
        await alice.post("/v3/keys/upload", {"one_time_keys": batch})
    assert await told(alice, since) == ({ONE: 4}, [ONE])
    claimed = [await claim(bob, alice) for _ in range(4)]
    assert claimed == [pair for batch in batches for pair in batch.items()]
    assert await told(alice, since) == ({ONE: 0}, [ONE])
    assert [await claim(bob, alice) for _ in range(2)] == list(fallback.items()) * 2
    assert await told(alice, since) == ({ONE: 0}, [])
    await alice.post("/v3/keys/upload", {"fallback_keys": fallback})  # the same: it stays used
    assert await told(alice, since) == ({ONE: 0}, [])
    await alice.post("/v3/keys/upload", {"fallback_keys": keys.one_time_keys(1, fallback=True)})
    assert await told(alice, since) == ({ONE: 0}, [ONE])
    assert await claim(bob, alice, "other") is None
    two = keys.one_time_keys(2, fallback=True)
    assert await alice.refused("POST", "/v3/keys/upload", {"fallback_keys": two}) == (400, "M_INVALID_PARAM")


async def told(client: Client, since: str):
    """What a sync says about keys, and what an initial one says."""
    answers = [await client.get("/v3/sync", since=since), await client.get("/v3/sync")]
    found = [
        (answer["device_one_time_keys_count"], answer["device_unused_fallback_key_types"])
        for answer in answers
    ]
    assert found[0] == found[1]
    return found[0]


async def test_counts_are_told_with_messages_too(server):
    alice, bob = await server.register("alice", device_id="A"), await server.register("bob")
    room = segment((await alice.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"])
    await bob.post(f"/v3/join/{room}")
    await alice.post("/v3/keys/upload", {"one_time_keys": crypto(alice).one_time_keys(2)})
    since = (await alice.get("/v3/sync"))["next_batch"]
    for left in (1, 0):
        await claim(bob, alice)
        await bob.put(f"/v3/rooms/{room}/send/m.room.message/{left}", {"body": "hi", "msgtype": "m.text"})
        answer = await alice.get("/v3/sync", since=since, timeout=5000)
        assert answer["device_one_time_keys_count"] == {ONE: left}
        since = answer["next_batch"]


async def test_what_is_not_there_cannot_be_claimed(server):
    alice, bob = await server.register("alice", device_id="A"), await server.register("bob")
    await alice.post("/v3/keys/upload", {"one_time_keys": crypto(alice).one_time_keys(1)})
    body = {"one_time_keys": {"@none:localhost": {"A": ONE}, alice.user_id: {"none": ONE}, bob.user_id: {}}}
    assert await bob.post("/v3/keys/claim", body) == {"one_time_keys": {}, "failures": {}}
    for wrong in ({"@a:b": []}, {"@a:b": {"A": 7}}, {alice.user_id: {"A\0": ONE}}):
        assert await bob.refused("POST", "/v3/keys/claim", {"one_time_keys": wrong}) == (400, "M_BAD_JSON")
    assert await bob.refused("POST", "/v3/keys/claim", {}) == (400, "M_MISSING_PARAM")
    elsewhere = await bob.post("/v3/keys/claim", {"one_time_keys": {"@x:elsewhere.example": {"A": ONE}}})
    assert elsewhere["one_time_keys"] == {}
    assert list(elsewhere["failures"]) == ["elsewhere.example"]


@pytest.mark.parametrize("flying", [5])
async def test_no_key_is_claimed_twice_or_lost(server, flying):
    """Claims in flight over 2,000 keys hand out 2,000 different ones."""
    alice, bob = await server.register("alice", device_id="A"), await server.register("bob")
    count = 2000
    for start in range(0, count, 500):
        batch = {f"plain:{number}": f"key{number}" for number in range(start, start + 500)}
        await alice.post("/v3/keys/upload", {"one_time_keys": batch})
    claims = iter(range(count + 5))
    found = []

    async def claimant():
        for _ in claims:
            found.append(await claim(bob, alice, "plain"))

    await asyncio.gather(*[claimant() for _ in range(flying)])
    keys = [key for key in found if key is not None]
    assert len(keys) == len(dict(keys)) == count
    assert found.count(None) == 5


async def test_deleting_a_device_deletes_its_keys(server):
    alice, bob = await server.register("alice", device_id="A"), await server.register("bob")
    phone = await server.login("alice", device_id="P")
    keys = crypto(phone)
    everything = {
        "device_keys": keys.device_keys(),
        "one_time_keys": keys.one_time_keys(1),
        "fallback_keys": keys.one_time_keys(1, fallback=True),
    }
    await phone.post("/v3/keys/upload", everything)
    await phone.post("/v3/logout")
    assert await claim(bob, phone) is None
    found = await bob.post("/v3/keys/query", {"device_keys": {alice.user_id: []}})
    assert found["device_keys"] == {alice.user_id: {}}
    async with server.database.read() as conn:
        for table in ("device_keys", "one_time_keys", "fallback_keys"):
            assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_after_a_restored_backup_no_key_is_given_out_again(server):
    """The device's token is from a later time than the database: keys that it has may have been claimed since."""
    alice, bob = await server.register("alice", device_id="A"), await server.register("bob")
    keys = crypto(alice)
    fallback = keys.one_time_keys(1, fallback=True)
    await alice.post("/v3/keys/upload", {"one_time_keys": keys.one_time_keys(3), "fallback_keys": fallback})
    answer = await alice.get("/v3/sync", since="s1000000")
    assert answer["device_one_time_keys_count"] == {ONE: 0}
    assert answer["device_unused_fallback_key_types"] == []
    assert await claim(bob, alice) is None
    fresh = keys.one_time_keys(1)
    await alice.post("/v3/keys/upload", {"one_time_keys": fresh})
    assert await claim(bob, alice) == next(iter(fresh.items()))
