"""Two servers of ours: keys and messages between their users, also when one of them is away."""

import asyncio

from tests.kit.crypto import DeviceCrypto
from tests.kit.server import segment

ONE = "signed_curve25519"


async def meet(one, two):
    """alice of one and bob of two in a room, with keys."""
    alice, bob = await one.register("alice", device_id="A"), await two.register("bob", device_id="B")
    crypto = {}
    for client in (alice, bob):
        crypto[client] = DeviceCrypto(client.user_id, client.device_id)
        keys = crypto[client].one_time_keys(5)
        await client.post(
            "/v3/keys/upload", {"device_keys": crypto[client].device_keys(), "one_time_keys": keys}
        )
    room_id = (await alice.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
    await bob.post(f"/v3/join/{segment(room_id)}?via={segment(one.name)}")
    return alice, bob, crypto


async def messages(client, count, since=None):
    """What comes, in order, until there are so many; and the token after them."""
    found = []
    async with asyncio.timeout(40):
        while len(found) < count:
            answer = await client.get("/v3/sync", since=since, timeout=5000)
            since = answer["next_batch"]
            found += [event["content"]["n"] for event in answer.get("to_device", {}).get("events", [])]
    return found, since


async def test_keys_are_found_and_claimed(homings):
    one, two = await homings(2)
    alice, bob, crypto = await meet(one, two)
    found = await bob.post("/v3/keys/query", {"device_keys": {alice.user_id: [], "@none:" + one.name: []}})
    assert found["failures"] == {}
    assert found["device_keys"][alice.user_id] == {"A": {**crypto[alice].device_keys(), "unsigned": {}}}
    claims = {"one_time_keys": {alice.user_id: {"A": ONE}}}
    claimed = [await bob.post("/v3/keys/claim", claims) for _ in range(6)]
    names = [name for one in claimed for name in one["one_time_keys"].get(alice.user_id, {}).get("A", {})]
    assert len(names) == len(set(names)) == 5


async def test_a_new_device_is_heard_of(homings):
    one, two = await homings(2)
    alice, bob, _ = await meet(one, two)
    await bob.post("/v3/keys/query", {"device_keys": {alice.user_id: []}})
    since = (await bob.get("/v3/sync"))["next_batch"]
    phone = await one.login("alice", device_id="P")
    await phone.post("/v3/keys/upload", {"device_keys": DeviceCrypto(alice.user_id, "P").device_keys()})
    async with asyncio.timeout(20):
        while True:
            answer = await bob.get("/v3/sync", since=since, timeout=5000)
            since = answer["next_batch"]
            found = await bob.post("/v3/keys/query", {"device_keys": {alice.user_id: []}})
            if (
                alice.user_id in answer.get("device_lists", {}).get("changed", [])
                and "P" in found["device_keys"][alice.user_id]
            ):
                break


async def test_messages_arrive_once_and_in_order_through_an_outage(homings):
    one, two = await homings(2)
    alice, bob, _ = await meet(one, two)

    async def send(numbers):
        for number in numbers:
            body = {"messages": {bob.user_id: {"B": {"n": number}}}}
            for _ in range(2):
                await alice.put(f"/v3/sendToDevice/m.test/{number}", body)

    await send(range(10))
    found, since = await messages(bob, 10)
    assert found == list(range(10))
    await two.stop()
    await send(range(10, 130))
    await one.restart()
    await two.start()
    await bob.put("/v3/sendToDevice/m.test/x", {"messages": {alice.user_id: {"*": {"n": "back"}}}})
    found, _ = await messages(bob, 120, since)
    assert found == list(range(10, 130))
    assert (await messages(alice, 1))[0] == ["back"]
