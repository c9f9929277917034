"""Our guests in rooms of other servers [cs "Guest Access"]."""

from homeserver.app.config import Registration
from tests.kit.server import segment

FORBIDDEN = (403, "M_GUEST_ACCESS_FORBIDDEN")


async def two_servers(homings):
    ours, theirs = await homings(2, registration=Registration(open=True, guests=True))
    guest = ours.with_token(await ours.anonymous().post("/v3/register", {}, kind="guest"))
    return guest, await theirs.register("thea")


async def private_room(owner, access):
    state = {"type": "m.room.guest_access", "state_key": "", "content": {"guest_access": access}}
    wish = {"preset": "private_chat", "initial_state": [state]}
    return (await owner.post("/v3/createRoom", wish))["room_id"]


async def membership_of(client, room_id, user_id):
    path = f"/v3/rooms/{segment(room_id)}/state/m.room.member/{segment(user_id)}"
    return (await client.get(path))["membership"]


async def news(client, since):
    return await client.get("/v3/sync", since=since, timeout=20_000)


async def invited(guest, owner, room_id):
    """The guest has the invitation."""
    since = (await guest.get("/v3/sync"))["next_batch"]
    await owner.post(f"/v3/rooms/{segment(room_id)}/invite", {"user_id": guest.user_id})
    while room_id not in (answer := await news(guest, since)).get("rooms", {}).get("invite", {}):
        since = answer["next_batch"]


async def until_left(guest, room_id, since):
    while room_id not in (answer := await news(guest, since)).get("rooms", {}).get("leave", {}):
        since = answer["next_batch"]


async def test_guests_enter_where_they_are_asked_to_and_leave_when_others_close_the_room(homings):
    guest, thea = await two_servers(homings)
    room_id = await private_room(thea, "can_join")
    path = f"/v3/rooms/{segment(room_id)}"
    assert await guest.refused("POST", f"{path}/join", {}) == FORBIDDEN  # nobody has asked them
    await invited(guest, thea, room_id)
    await guest.post(f"{path}/join", {})
    assert await membership_of(guest, room_id, guest.user_id) == "join"
    since = (await guest.get("/v3/sync"))["next_batch"]
    await thea.put(f"{path}/state/m.room.guest_access/", {"guest_access": "forbidden"})
    await until_left(guest, room_id, since)
    assert await membership_of(guest, room_id, guest.user_id) == "leave"


async def test_guests_do_not_stay_where_they_are_not_welcome(homings):
    guest, thea = await two_servers(homings)
    room_id = await private_room(thea, "forbidden")
    await invited(guest, thea, room_id)
    assert await guest.refused("POST", f"/v3/rooms/{segment(room_id)}/join", {}) == FORBIDDEN
    assert room_id not in (await guest.get("/v3/sync")).get("rooms", {}).get("join", {})
