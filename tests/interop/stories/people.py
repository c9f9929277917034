"""Stories of people whose servers talk: profiles, receipts, typing, presence, devices, media."""

import base64

from nacl.signing import SigningKey
from signedjson.sign import sign_json
from unpaddedbase64 import encode_base64

from tests.interop.follower import Follower
from tests.interop.sites import Pair
from tests.kit.server import segment

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


async def met(pair: Pair, **options) -> tuple[Follower, Follower, str]:
    """A user of each server, in one room."""
    alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
    room_id = await alice.create(**options)
    await bob.join(room_id, via=alice.server)
    await alice.sees_member(room_id, bob.user_id, "join")
    await bob.until(lambda: room_id in bob.rooms, "its own join")
    return alice, bob, room_id


class PeopleStories:
    """Alice is at `pair.here`, Bob at `pair.there`; they share a room."""

    async def test_a_profile_is_looked_up(self, pair: Pair):
        alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
        path = f"/v3/profile/{segment(alice.user_id)}"
        await alice.client.put(f"{path}/displayname", {"displayname": "Alice A."})
        assert (await bob.client.get(path))["displayname"] == "Alice A."
        assert (await bob.client.get(f"{path}/displayname")) == {"displayname": "Alice A."}
        unknown = f"/v3/profile/{segment('@nobody:' + alice.server)}"
        assert (await bob.client.refused("GET", unknown))[0] == 404

    async def test_a_new_name_is_seen(self, pair: Pair):
        alice, bob, room_id = await met(pair)
        for user, other in ((alice, bob), (bob, alice)):
            path = f"/v3/profile/{segment(user.user_id)}/displayname"
            await user.client.put(path, {"displayname": "Renamed"})
            view = other.rooms[room_id]
            named = lambda: view.content("m.room.member", user.user_id).get("displayname")  # noqa: B023, E731
            await other.until(lambda: named() == "Renamed", "the new name")  # noqa: B023

    async def test_receipts(self, pair: Pair):
        alice, bob, room_id = await met(pair)
        for user, other in ((alice, bob), (bob, alice)):
            event_id = await user.say(room_id)
            await other.sees(room_id, event_id)
            path = f"/v3/rooms/{segment(room_id)}/receipt/m.read/{segment(event_id)}"
            await other.client.post(path)
            read = user.rooms[room_id].receipts
            await user.until(lambda: read.get((other.user_id, "m.read")) == event_id, "the receipt")  # noqa: B023

    async def test_typing(self, pair: Pair):
        alice, bob, room_id = await met(pair)
        for user, other in ((alice, bob), (bob, alice)):
            path = f"/v3/rooms/{segment(room_id)}/typing/{segment(user.user_id)}"
            await user.client.put(path, {"typing": True, "timeout": 30_000})
            view = other.rooms[room_id]
            await other.until(lambda: user.user_id in view.typing, "typing")  # noqa: B023
            await user.client.put(path, {"typing": False})
            await other.until(lambda: user.user_id not in view.typing, "its end")  # noqa: B023

    async def test_presence(self, pair: Pair):
        alice, bob, _ = await met(pair)
        for user, other in ((alice, bob), (bob, alice)):
            path = f"/v3/presence/{segment(user.user_id)}/status"
            await user.client.put(path, {"presence": "unavailable", "status_msg": "at lunch"})
            await other.until(
                lambda: other.presence.get(user.user_id, {}).get("status_msg") == "at lunch",  # noqa: B023
                "presence",
            )

    async def test_messages_between_devices(self, pair: Pair):
        alice, bob, _ = await met(pair)
        for user, other in ((alice, bob), (bob, alice)):
            messages = {other.user_id: {other.client.device_id: {"secret": "sealed"}}}
            path = f"/v3/sendToDevice/com.example.letter/{user.client.device_id}"
            await user.client.put(path, {"messages": messages})
            got = await other.until(lambda: other.to_device, "the letter")  # noqa: B023
            assert got[0]["sender"] == user.user_id
            assert got[0]["content"] == {"secret": "sealed"}

    async def test_keys_are_queried_and_claimed(self, pair: Pair):
        alice, bob, _ = await met(pair)
        for user, other in ((alice, bob), (bob, alice)):
            uploaded = await upload_keys(user)
            asked = await other.client.post("/v3/keys/query", {"device_keys": {user.user_id: []}})
            found = asked["device_keys"][user.user_id][user.client.device_id]
            assert found["keys"] == uploaded["keys"]
            wanted = {user.user_id: {user.client.device_id: "signed_curve25519"}}
            claimed = await other.client.post("/v3/keys/claim", {"one_time_keys": wanted})
            assert claimed["one_time_keys"][user.user_id][user.client.device_id]

    async def test_new_devices_are_told(self, pair: Pair):
        alice, bob, _ = await met(pair)
        for user, other in ((alice, bob), (bob, alice)):
            await other.sync()
            other.devices_changed.clear()
            await upload_keys(user)
            await other.until(lambda: user.user_id in other.devices_changed, "the device")  # noqa: B023

    async def test_media(self, pair: Pair):
        alice, bob, _ = await met(pair)
        for user, other in ((alice, bob), (bob, alice)):
            uri = (await user.client.post("/_matrix/media/v3/upload", PNG, filename="dot.png"))["content_uri"]
            server, _, media_id = uri.removeprefix("mxc://").partition("/")
            path = f"/v1/media/download/{server}/{media_id}"
            answer = await other.client.ask("GET", path)
            assert (answer.status, answer.content) == (200, PNG)


async def upload_keys(user: Follower) -> dict:
    """Device keys and a one-time key, signed by the device."""
    device = user.client.device_id
    signing = SigningKey.generate()
    signing.alg, signing.version = "ed25519", device
    keys = {
        "user_id": user.user_id,
        "device_id": device,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": {
            f"curve25519:{device}": encode_base64(bytes(32)),
            f"ed25519:{device}": encode_base64(signing.verify_key.encode()),
        },
    }
    keys = sign_json(keys, user.user_id, signing)
    one_time = sign_json({"key": encode_base64(bytes(32))}, user.user_id, signing)
    upload = {"device_keys": keys, "one_time_keys": {"signed_curve25519:AAAAHg": one_time}}
    await user.client.post("/v3/keys/upload", upload)
    return keys
