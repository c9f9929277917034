"""A user's devices."""

from homeserver.services.last_seen import LastSeen
from homeserver.services.now import now_ms
from tests.client_api.test_interactive_auth import challenge, password


async def test_devices_are_listed_and_named(server):
    alice = await server.register("alice", device_id="A", initial_device_display_name="Desk")
    await server.login("alice", device_id="B")
    assert [device["device_id"] for device in (await alice.get("/v3/devices"))["devices"]] == ["A", "B"]
    await alice.put("/v3/devices/B", {"display_name": "Phone"})
    device = await alice.get("/v3/devices/B")
    made = device.pop("last_seen_ts")
    assert device == {"device_id": "B", "display_name": "Phone", "last_seen_ip": ""}
    assert abs(made - now_ms()) < 60_000
    await alice.put("/v3/devices/B", {})
    assert (await alice.get("/v3/devices/B"))["display_name"] == "Phone"


async def test_other_users_devices_are_none(server):
    alice, eve = await server.register("alice", device_id="A"), await server.register("eve")
    assert await eve.refused("GET", "/v3/devices/A") == (404, "M_NOT_FOUND")
    assert await eve.refused("PUT", "/v3/devices/A", {"display_name": "Mine"}) == (404, "M_NOT_FOUND")
    assert await eve.refused("PUT", f"/v3/devices/{eve.device_id}", {"display_name": 7}) == (
        400,
        "M_BAD_JSON",
    )
    name = {"display_name": "x" * 101}
    assert await eve.refused("PUT", f"/v3/devices/{eve.device_id}", name) == (400, "M_TOO_LARGE")
    await eve.delete("/v3/devices/A", {"auth": password(eve.user_id)})
    await eve.post("/v3/delete_devices", {"devices": ["A"], "auth": password(eve.user_id)})
    assert (await alice.get("/v3/account/whoami"))["device_id"] == "A"


async def test_deleting_a_device_ends_all_that_hangs_on_it(server):
    alice = await server.register("alice", device_id="A")
    phone = await server.login("alice", device_id="B")
    async with server.database.writer() as conn:
        await conn.execute(
            "INSERT INTO to_device SELECT device_nid, 1, 0, '@x:y', 'm.test', '{}' FROM devices WHERE device_id = 'B'"
        )
    session = (await challenge(alice, "DELETE", "/v3/devices/B", None))["session"]
    await alice.delete("/v3/devices/B", {"auth": password("alice", session)})
    assert await phone.refused("GET", "/v3/account/whoami") == (401, "M_UNKNOWN_TOKEN")
    assert await alice.refused("GET", "/v3/devices/B") == (404, "M_NOT_FOUND")
    async with server.database.read() as conn:
        assert await conn.fetchval("SELECT count(*) FROM to_device") == 0
        assert await conn.fetchval("SELECT count(*) FROM access_tokens") == 1


async def test_every_change_is_on_the_clock(server):
    positions = set()

    async def changes():
        async with server.database.read() as conn:
            positions.add(await conn.fetchval("SELECT position FROM device_list_changes"))
        return len(positions)

    alice = await server.register("alice", device_id="A")
    seen = [await changes()]
    await alice.put("/v3/devices/A", {"display_name": "Desk"})
    seen.append(await changes())
    await server.login("alice", device_id="B")
    seen.append(await changes())
    await alice.delete("/v3/devices/B", {"auth": password("alice")})
    seen.append(await changes())
    await alice.delete("/v3/devices/B", {"auth": password("alice")})  # there is none any more
    seen.append(await changes())
    assert seen == [1, 2, 3, 4, 4]


async def test_several_at_once(server):
    alice = await server.register("alice", device_id="A")
    for device in "BCD":
        await server.login("alice", device_id=device)
    for body in ({"devices": "B"}, {"devices": [7]}):
        assert await alice.refused("POST", "/v3/delete_devices", body) == (400, "M_BAD_JSON")
    without = {"auth": password("alice")}
    assert await alice.refused("POST", "/v3/delete_devices", without) == (400, "M_MISSING_PARAM")
    body = {"devices": ["B", "C", "none"], "auth": password("alice")}
    await alice.post("/v3/delete_devices", body)
    assert [device["device_id"] for device in (await alice.get("/v3/devices"))["devices"]] == ["A", "D"]


async def test_a_device_is_seen(server):
    alice = await server.register("alice", device_id="A")
    async with server.database.read() as conn:
        nid = await conn.fetchval("SELECT device_nid FROM devices")
    now = 1_000_000_000
    notes = LastSeen(server.database, lambda: now)
    told = []
    for minute, ip in ((0, "192.0.2.1"), (1, "192.0.2.2"), (5, "192.0.2.3")):
        now = 1_000_000_000 + minute * 60_000
        if notes.is_due(nid):
            notes.note(nid, ip, "test")
        await notes.flush()
        device = await alice.get("/v3/devices/A")
        told.append((device["last_seen_ip"], device["last_seen_ts"]))
    first, last = ("192.0.2.1", 1_000_000_000), ("192.0.2.3", 1_000_300_000)
    assert told == [first, first, last]
