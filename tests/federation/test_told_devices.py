"""What other servers are told and answered of our users' devices."""

from homeserver.core.room_versions import ROOM_VERSIONS
from tests.kit.crypto import DeviceCrypto, UserCrypto, public
from tests.kit.server import segment
from tests.kit.their_devices import USER, keys, together

V11 = ROOM_VERSIONS["11"]
ONE = "signed_curve25519"


def updates(peer, kind="m.device_list_update"):
    return [edu["content"] for edu in peer.edus if edu["edu_type"] == kind]


async def test_changes_of_ours_are_told_in_order(homing, peer):
    bob = await homing.register("bob", device_id="B")
    await together(homing, peer, bob)
    crypto, user = DeviceCrypto(bob.user_id, "B"), UserCrypto(bob.user_id)
    await bob.post("/v3/keys/upload", {"device_keys": crypto.device_keys()})
    await peer.until(lambda: updates(peer))
    phone = await homing.login("bob", device_id="P")
    await phone.post("/v3/keys/upload", {"device_keys": DeviceCrypto(bob.user_id, "P").device_keys()})
    await bob.post("/v3/keys/device_signing/upload", user.upload())
    signed = user.signed(crypto.device_keys(), user.self_signing)
    assert await bob.post("/v3/keys/signatures/upload", {bob.user_id: {"B": signed}}) == {"failures": {}}
    await phone.post("/v3/logout")

    # Updates tell what is when they are sent: the logout may show in an earlier one, too.
    def complete():
        told = updates(peer)
        return len(told) > 1 and told[-1].get("deleted") and told[-2].get("keys") == signed

    await peer.until(complete)
    told = updates(peer)
    assert told[-1]["device_id"] == "P"
    ids = [one["stream_id"] for one in told]
    assert ids == sorted(set(ids))
    assert ids[0] == 1  # the login itself is nobody's affair
    assert all(one["prev_id"] == [one["stream_id"] - 1][: one["stream_id"] - 1] for one in told)
    crossing = await peer.until(lambda: updates(peer, "m.signing_key_update"))
    keys_ = user.upload()
    assert crossing[-1] == {
        "user_id": bob.user_id,
        "master_key": keys_["master_key"],
        "self_signing_key": keys_["self_signing_key"],
    }
    listed = await peer.ask("GET", homing.name, f"{USER}/devices/{segment(bob.user_id)}")
    assert listed["stream_id"] == ids[-1]
    assert listed["devices"] == [{"device_id": "B", "keys": signed}]
    assert listed["master_key"] == keys_["master_key"]


async def test_who_was_down_hears_what_is_new_when_it_is_back(homing, peer):
    bob = await homing.register("bob", device_id="B")
    await together(homing, peer, bob)
    crypto = DeviceCrypto(bob.user_id, "B")
    await bob.post("/v3/keys/upload", {"device_keys": crypto.device_keys()})
    first = (await peer.until(lambda: updates(peer)))[-1]
    await peer.stop()
    for number in range(3):
        await bob.post("/v3/keys/upload", {"device_keys": crypto.device_keys(number=number)})
    await homing.restart()
    peer.edus.clear()
    await peer.start()
    await peer.ask("GET", homing.name, f"{USER}/devices/{segment(bob.user_id)}")  # we hear that it is back
    told = await peer.until(
        lambda: [one for one in updates(peer) if one["stream_id"] == first["stream_id"] + 3]
    )
    assert told[-1]["keys"] == crypto.device_keys(number=2)
    assert told[-1]["prev_id"] == [first["stream_id"] + 2]  # which it does not know: it will ask for the list


async def test_nobody_else_is_told(homing, peers):
    one, two = await peers(), await peers()
    bob, eve = await homing.register("bob", device_id="B"), await homing.register("eve", device_id="E")
    room_id = (await bob.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
    await one.join(homing.name, room_id, one.alice)
    room_id = (await eve.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
    await two.join(homing.name, room_id, two.alice)
    await bob.post("/v3/keys/upload", {"device_keys": DeviceCrypto(bob.user_id, "B").device_keys()})
    await eve.post("/v3/keys/upload", {"device_keys": DeviceCrypto(eve.user_id, "E").device_keys()})
    await one.until(lambda: updates(one))
    await two.until(lambda: updates(two))
    assert {content["user_id"] for content in updates(one)} == {bob.user_id}
    assert {content["user_id"] for content in updates(two)} == {eve.user_id}


async def test_servers_ask_for_keys(homing, peer):
    bob = await homing.register("bob", device_id="B", initial_device_display_name="Desk at home")
    crypto = DeviceCrypto(bob.user_id, "B")
    batch = crypto.one_time_keys(2)
    await bob.post("/v3/keys/upload", {"device_keys": crypto.device_keys(), "one_time_keys": batch})
    asked = {"device_keys": {bob.user_id: [], peer.alice: []}}
    found = await peer.ask("POST", homing.name, f"{USER}/keys/query", asked)
    assert found["device_keys"] == {bob.user_id: {"B": {**crypto.device_keys(), "unsigned": {}}}}
    claims = {"one_time_keys": {bob.user_id: {"B": ONE, "none": ONE}, peer.alice: {"A": ONE}}}
    for name in batch:
        found = await peer.ask("POST", homing.name, f"{USER}/keys/claim", claims)
        assert found == {"one_time_keys": {bob.user_id: {"B": {name: batch[name]}}}}
    assert await peer.ask("POST", homing.name, f"{USER}/keys/claim", claims) == {"one_time_keys": {}}
    for path, body in (
        ("query", {"device_keys": {bob.user_id: 7}}),
        ("claim", {"one_time_keys": {bob.user_id: []}}),
    ):
        answer = await peer.request("POST", homing.name, f"{USER}/keys/{path}", body)
        assert (answer.status, answer.errcode) == (400, "M_BAD_JSON")
    answer = await peer.request("GET", homing.name, f"{USER}/devices/{segment('@none:' + homing.name)}")
    assert (answer.status, answer.errcode) == (404, "M_NOT_FOUND")


async def test_users_of_others_are_signed(homing, peer, their):
    bob = await homing.register("bob", device_id="B")
    user = UserCrypto(bob.user_id)
    await bob.post("/v3/keys/device_signing/upload", user.upload())
    their.device("A")
    signed = user.signed(their.crossed()["master_key"], user.user_signing)
    name = public(their.user.master)
    assert await bob.post("/v3/keys/signatures/upload", {peer.alice: {name: signed}}) == {"failures": {}}
    assert (await keys(bob, peer.alice))["master_keys"][peer.alice] == signed
