"""What our events take over from another server's template."""

import pytest

from homeserver.core.room_versions import V1, V2
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
