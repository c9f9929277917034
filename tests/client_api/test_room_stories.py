"""Rooms over HTTP, told as stories of a few users."""

from tests.kit.server import RunningServer, segment


async def test_two_users_meet(server: RunningServer) -> None:
    alice, bob = await server.register(), await server.register()
    room = segment((await alice.post("/v3/createRoom", {"preset": "private_chat", "name": "Tea"}))["room_id"])
    assert await bob.refused("POST", f"/v3/rooms/{room}/join") == (403, "M_FORBIDDEN")
    await alice.post(f"/v3/rooms/{room}/invite", {"user_id": bob.user_id})
    await bob.post(f"/v3/rooms/{room}/join")
    sent = await bob.put(f"/v3/rooms/{room}/send/m.room.message/t1", {"msgtype": "m.text", "body": "hi"})
    again = await bob.put(f"/v3/rooms/{room}/send/m.room.message/t1", {"msgtype": "m.text", "body": "hi"})
    assert sent == again
