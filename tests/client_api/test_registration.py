"""Accounts, from nothing to the first login."""


async def test_a_new_user_is_logged_in(server):
    alice = await server.register("alice", device_id="PHONE", initial_device_display_name="Phone")
    assert alice.user_id == "@alice:localhost"
    assert await alice.get("/v3/account/whoami") == {
        "user_id": "@alice:localhost",
        "device_id": "PHONE",
        "is_guest": False,
    }
