"""A device that sleeps on the server, and wakes at a new login."""

from tests.kit.crypto import DeviceCrypto

PATH = "/unstable/org.matrix.msc3814.v1/dehydrated_device"


def sleeper(user_id, device_id):
    crypto = DeviceCrypto(user_id, device_id)
    return {
        "device_id": device_id,
        "device_data": {"algorithm": "m.dehydration.v2", "device_pickle": device_id},
        "initial_device_display_name": "Asleep",
        "device_keys": crypto.device_keys(dehydrated=True),
        "one_time_keys": crypto.one_time_keys(2),
        "fallback_keys": crypto.one_time_keys(1, fallback=True),
    }


async def test_a_device_sleeps_and_wakes(server):
    alice, bob = await server.register("alice"), await server.register("bob")
    assert await alice.refused("GET", PATH) == (404, "M_NOT_FOUND")
    body = sleeper(alice.user_id, "SLEEPER")
    assert await alice.put(PATH, body) == {"device_id": "SLEEPER"}
    assert await alice.get(PATH) == {"device_id": "SLEEPER", "device_data": body["device_data"]}
    found = await bob.post("/v3/keys/query", {"device_keys": {alice.user_id: []}})
    keys = found["device_keys"][alice.user_id]["SLEEPER"]
    assert keys == {**body["device_keys"], "unsigned": {"device_display_name": "Asleep"}}
    claimed = await bob.post(
        "/v3/keys/claim", {"one_time_keys": {alice.user_id: {"SLEEPER": "signed_curve25519"}}}
    )
    assert (
        list(claimed["one_time_keys"][alice.user_id]["SLEEPER"].items())
        == list(body["one_time_keys"].items())[:1]
    )
    for number in range(150):
        messages = {alice.user_id: {"SLEEPER": {"n": number}}}
        await bob.put(f"/v3/sendToDevice/m.test/{number}", {"messages": messages})
    for _ in range(2):  # an interrupted client begins anew
        first = await alice.post(f"{PATH}/SLEEPER/events")
        rest = await alice.post(f"{PATH}/SLEEPER/events", {"next_batch": first["next_batch"]})
        numbers = [event["content"]["n"] for answer in (first, rest) for event in answer["events"]]
        assert numbers == list(range(150))
        end = await alice.post(f"{PATH}/SLEEPER/events", {"next_batch": rest["next_batch"]})
        assert end["events"] == []
        page = await alice.get(f"{PATH}/SLEEPER/events")
        last = await alice.get(f"{PATH}/SLEEPER/events", **{"from": page["next_batch"]})
        assert page["events"] + last["events"] == first["events"] + rest["events"]
        assert "next_batch" not in last
    for method in ("GET", "POST"):
        path = f"{PATH}/{alice.device_id}/events"
        assert await alice.refused(method, path, {}) == (403, "M_FORBIDDEN")
    assert await alice.delete(PATH) == {"device_id": "SLEEPER"}
    assert await alice.refused("GET", PATH) == (404, "M_NOT_FOUND")
    async with server.database.read() as conn:
        assert await conn.fetchval("SELECT count(*) FROM to_device") == 0


async def test_one_device_sleeps_at_a_time(server):
    alice = await server.register("alice", device_id="A")
    await alice.put(PATH, sleeper(alice.user_id, "ONE"))
    await alice.put(PATH, sleeper(alice.user_id, "TWO"))
    assert (await alice.get(PATH))["device_id"] == "TWO"
    assert [device["device_id"] for device in (await alice.get("/v3/devices"))["devices"]] == ["A", "TWO"]


async def test_what_cannot_sleep_is_refused_and_leaves_no_trace(server):
    alice = await server.register("alice", device_id="A")
    await alice.put(PATH, sleeper(alice.user_id, "ONE"))
    good = sleeper(alice.user_id, "TWO")
    forged = {**good["device_keys"], "signatures": sleeper(alice.user_id, "TWO")["device_keys"]["signatures"]}
    refused = {
        "M_INVALID_SIGNATURE": [{"device_keys": forged}],
        "M_INVALID_PARAM": [
            {"device_id": "A"},
            sleeper(alice.user_id, "ONE"),  # other keys for the device that sleeps
            {"device_id": "x" * 256},
            {"device_id": ""},
            {"device_id": "THREE"},
        ],
        "M_BAD_JSON": [{"device_data": "x"}, {"device_id": 7}, {"one_time_keys": []}, {"device_keys": None}],
    }
    for errcode, bodies in refused.items():
        for body in bodies:
            assert await alice.refused("PUT", PATH, {**good, **body}) == (400, errcode), body
    assert (await alice.get(PATH))["device_id"] == "ONE"
    assert [device["device_id"] for device in (await alice.get("/v3/devices"))["devices"]] == ["A", "ONE"]
