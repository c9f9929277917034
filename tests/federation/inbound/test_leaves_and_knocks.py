"""Users of other servers leave our rooms, decline our invitations, and knock."""

from homeserver.core.room_versions import ROOM_VERSIONS
from tests.federation.inbound.test_joins import founded, refusal
from tests.kit.remote_room import RemoteRoom
from tests.kit.server import segment
from tests.kit.versions import ALL, KNOCKING, in_each


async def membership(client, room_id, user_id):
    path = f"/v3/rooms/{segment(room_id)}/state/m.room.member/{segment(user_id)}"
    return (await client.get(path))["membership"]


async def test_leaves(homing, peer):
    async def story(version):
        alice, room_id = await founded(homing, version.name)
        room = await peer.join(homing.name, room_id, peer.alice)
        await peer.leave(homing.name, room, peer.alice)
        assert await membership(alice, room_id, peer.alice) == "leave"

    await in_each(ALL, story)


async def test_an_invitation_is_declined(homing, peer):
    alice, room_id = await founded(homing, preset="private_chat")
    await alice.post(f"/v3/rooms/{segment(room_id)}/invite", {"user_id": peer.alice})
    room = peer.keep(RemoteRoom(ROOM_VERSIONS["12"], room_id=room_id))
    template = f"/_matrix/federation/v1/make_leave/{segment(room_id)}/{segment(peer.alice)}"
    made = await peer.ask("GET", homing.name, template)
    event = peer.finish(room, made["event"])
    path = f"/_matrix/federation/v1/send_leave/{segment(room_id)}/{segment(event.event_id)}"
    assert await peer.ask("PUT", homing.name, path, dict(event.pdu)) == [200, {}]
    assert await membership(alice, room_id, peer.alice) == "leave"


async def test_who_is_not_there_cannot_leave(homing, peer):
    _, room_id = await founded(homing)
    path = f"/_matrix/federation/v1/make_leave/{segment(room_id)}/{segment(peer.alice)}"
    assert await refusal(peer, homing, "GET", path) == (403, "M_FORBIDDEN")


async def knockable(homing, version):
    rule = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    return await founded(homing, version, preset="private_chat", name="behind a door", initial_state=[rule])


async def test_knocks(homing, peer):
    async def story(version):
        alice, room_id = await knockable(homing, version.name)
        make = f"/_matrix/federation/v1/make_knock/{segment(room_id)}/{segment(peer.alice)}"
        made = await peer.ask("GET", homing.name, make, ver=list(ROOM_VERSIONS))
        room = RemoteRoom(version, room_id=room_id, keys={peer.name: peer.key})
        knock = peer.finish(room, made["event"])
        path = f"/_matrix/federation/v1/send_knock/{segment(room_id)}/{segment(knock.event_id)}"
        shown = (await peer.ask("PUT", homing.name, path, dict(knock.pdu)))["knock_room_state"]
        events = [room.finished(pdu) for pdu in shown]
        assert {event.room_id for event in events} == {room_id}
        assert {"m.room.create", "m.room.name", "m.room.join_rules"} <= {event.type for event in events}
        assert await membership(alice, room_id, peer.alice) == "knock"

    await in_each(KNOCKING, story)


async def test_knocks_are_refused(homing, peer):
    _, public = await founded(homing)
    path = f"/_matrix/federation/v1/make_knock/{segment(public)}/{segment(peer.alice)}"
    assert await refusal(peer, homing, "GET", path, ver="12") == (403, "M_FORBIDDEN")
    assert await refusal(peer, homing, "GET", path) == (400, "M_MISSING_PARAM")
    _, room_id = await knockable(homing, "9")
    path = f"/_matrix/federation/v1/make_knock/{segment(room_id)}/{segment(peer.alice)}"
    assert await refusal(peer, homing, "GET", path, ver="8") == (400, "M_INCOMPATIBLE_ROOM_VERSION")
