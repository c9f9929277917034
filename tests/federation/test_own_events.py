"""What our events take over from another server's template."""

import pytest
from attrs import evolve

from homeserver.core.room_versions import V1, V2, V3, V10
from tests.kit.server import segment


@pytest.mark.parametrize("version", [V1, V2], ids=lambda version: version.name)
async def test_links_whose_hashes_are_not_told(homing, peer, version):
    """Synapse leaves them out where it does not know them."""
    room = peer.found(version)

    async def make_join(call):
        pdu = room.template(call.parameters["userId"], "m.room.member", {"membership": "join"}, bob.user_id)
        pdu["auth_events"] = [[event_id, {}] for event_id, _ in pdu["auth_events"]]
        return {"room_version": version.name, "event": pdu}

    peer.on("GET", "/_matrix/federation/v1/make_join/{roomId}/{userId}", make_join)
    bob = await homing.register("bob")
    await bob.do("POST", f"/v3/join/{segment(room.room_id)}", {}, server_name=peer.name)
    assert room.current()["m.room.member", bob.user_id] in room.events


@pytest.mark.parametrize("version", [V1, V3], ids=lambda version: version.name)
async def test_a_version_that_is_not_named_shows_in_the_links(homing, peer, version):
    room = peer.found(version)
    bob = await homing.register("bob")
    peer.on("GET", "/_matrix/federation/v1/make_join/{roomId}/{userId}", _nameless(room, bob.user_id))
    await bob.do("POST", f"/v3/join/{segment(room.room_id)}", {}, server_name=peer.name)
    assert room.current()["m.room.member", bob.user_id] in room.events


@pytest.mark.parametrize("version", [V10, evolve(V10, name="unheard of")], ids=lambda version: version.name)
async def test_then_the_create_event_must_be_of_it(homing, peer, version):
    room = peer.found(version)
    bob = await homing.register("bob")
    peer.on("GET", "/_matrix/federation/v1/make_join/{roomId}/{userId}", _nameless(room, bob.user_id))
    state = [dict(room.events[event_id].pdu) for event_id in room.current().values()]
    told = {"state": state, "auth_chain": state, "origin": peer.name}
    peer.on("PUT", "/_matrix/federation/v2/send_join/{roomId}/{eventId}", told)
    path, query = f"/v3/join/{segment(room.room_id)}", {"server_name": peer.name}
    assert await bob.refused("POST", path, {}, **query) == (404, "M_NOT_FOUND")
    assert len(peer.seen("PUT", "/v2/send_join")) == 1


def _nameless(room, user):
    return {"event": room.template(user, "m.room.member", {"membership": "join"}, user)}
