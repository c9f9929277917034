"""Invitations to one room that disagree about its version: only who is in the room knows, and nobody here is yet."""

import pytest

from homeserver.core.room_versions import V1, V10, V11
from tests.kit.remote_room import RemoteRoom


@pytest.mark.parametrize("versions", [(V1, V11), (V11, V1), (V10, V11)])
async def test_any_of_them_is_told_and_can_be_dismissed(homing, peer, versions):
    users = [await homing.register(name) for name in ("alice", "bob")]
    room_id = peer.found(versions[0]).room_id
    for user, version in zip(users, versions, strict=True):
        room = RemoteRoom(version, room_id=room_id, keys={peer.name: peer.key})
        room.public(peer.alice)
        await peer.invite(homing.name, peer.keep(room), peer.alice, user.user_id)
    for user in users:
        answer = await user.get("/v3/sync")
        assert room_id in answer["rooms"]["invite"]
        await user.post(f"/v3/rooms/{room_id}/leave", {})
        assert room_id not in (await user.get("/v3/sync")).get("rooms", {}).get("invite", {})
