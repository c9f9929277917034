"""Addresses that were invited become users, of ours or of others."""

from homeserver.core.room_versions import ROOM_VERSIONS
from tests.core.test_auth_third_party_invite import OFFER, TOKEN, signed
from tests.federation.inbound.test_joins import founded, refusal
from tests.federation.test_membership import FEDERATION, joined, section
from tests.kit.server import segment

ONBIND = f"{FEDERATION}/v1/3pid/onbind"
V11 = ROOM_VERSIONS["11"]


def exchange(room_id):
    return f"{FEDERATION}/v1/exchange_third_party_invite/{segment(room_id)}"


def redeemed(room_id, sender, user_id):
    invite = {"display_name": "charlie", "signed": signed(user_id)}
    content = {"membership": "invite", "third_party_invite": invite}
    return {
        "type": "m.room.member",
        "room_id": room_id,
        "sender": sender,
        "state_key": user_id,
        "content": content,
    }


def bound(room_id, sender, user_id):
    invite = {"medium": "email", "address": "charlie@example.org", "mxid": user_id, "room_id": room_id}
    invite |= {"sender": sender, "signed": signed(user_id)}
    return {"medium": "email", "address": "charlie@example.org", "mxid": user_id, "invites": [invite]}


async def offering(homing):
    """A closed room of ours that has invited an address."""
    alice, room_id = await founded(homing, "11", preset="private_chat")
    await alice.put(f"/v3/rooms/{segment(room_id)}/state/m.room.third_party_invite/{segment(TOKEN)}", OFFER)
    return alice, room_id


async def test_another_servers_user_has_the_address(homing, peer):
    alice, room_id = await offering(homing)
    event = redeemed(room_id, alice.user_id, peer.alice)
    assert await peer.ask("PUT", homing.name, exchange(room_id), event) == {}
    invite = peer.invites[0]["event"]
    assert invite["sender"] == alice.user_id
    assert invite["content"]["third_party_invite"]["signed"]["mxid"] == peer.alice
    await peer.join(homing.name, room_id, peer.alice)


async def test_what_is_no_such_invite(homing, peer):
    alice, room_id = await offering(homing)
    bob = await homing.register()

    async def answer(**changes):
        event = {**redeemed(room_id, alice.user_id, peer.alice), **changes}
        return await refusal(peer, homing, "PUT", exchange(room_id), event)

    assert await answer(type="m.room.message") == (400, "M_INVALID_PARAM")
    assert await answer(room_id="!other:example.org") == (400, "M_INVALID_PARAM")
    assert await answer(sender=peer.alice) == (403, "M_FORBIDDEN")
    assert await answer(sender=bob.user_id) == (403, "M_FORBIDDEN")
    assert await answer(state_key="@other:example.org") == (403, "M_FORBIDDEN")
    forged = {"membership": "invite", "third_party_invite": {"signed": {**signed(peer.alice), "extra": 1}}}
    assert await answer(content=forged) == (403, "M_FORBIDDEN")
    assert (await answer(content={"membership": "invite"}))[0] == 400
    assert await refusal(peer, homing, "PUT", exchange("!nowhere:example.org"), {}) == (404, "M_NOT_FOUND")


async def test_a_user_of_ours_has_the_address(homing):
    alice, room_id = await offering(homing)
    bob = await homing.register()
    nobody = homing.anonymous()
    assert await nobody.put(ONBIND, bound(room_id, alice.user_id, bob.user_id)) == {}
    assert room_id in await section(bob, "invite")
    wrong = bound(room_id, alice.user_id, "@other:example.org")
    assert await nobody.refused("PUT", ONBIND, wrong) == (400, "M_INVALID_PARAM")
    assert await nobody.refused("PUT", ONBIND, {"mxid": bob.user_id, "invites": [{}]}) == (
        400,
        "M_MISSING_PARAM",
    )


async def test_in_a_room_of_the_inviters_server(homing, peer):
    bob = await homing.register()
    room = peer.found(V11)
    path = f"{FEDERATION}/v1/exchange_third_party_invite/{{roomId}}"
    peer.on("PUT", path, {})
    await homing.anonymous().put(ONBIND, bound(room.room_id, peer.alice, bob.user_id))
    (asked,) = peer.seen("PUT", "/v1/exchange_third_party_invite")
    assert asked.body["content"]["third_party_invite"]["signed"]["token"] == TOKEN
    await peer.stop()
    told = bound(room.room_id, peer.alice, bob.user_id)
    assert await homing.anonymous().refused("PUT", ONBIND, told) == (404, "M_NOT_FOUND")


def invited(peer):
    sent = [pdu for call in peer.seen("PUT", "/v1/send/") for pdu in call.body["pdus"]]
    return [pdu["state_key"] for pdu in sent if pdu["content"].get("membership") == "invite"]


async def test_in_a_room_that_we_are_in_with_the_inviter(homing, peer):
    alice, bob = await homing.register(), await homing.register()
    room = peer.found(V11)
    room.send_state(peer.alice, "m.room.third_party_invite", TOKEN, OFFER)
    await joined(alice, room, peer.name)
    await homing.anonymous().put(ONBIND, bound(room.room_id, peer.alice, bob.user_id))
    shown = (await section(bob, "invite"))[room.room_id]["invite_state"]["events"]
    assert shown[-1]["sender"] == peer.alice
    await peer.until(lambda: bob.user_id in invited(peer))  # the inviter's server hears of the invite from us
    await joined(bob, room)
