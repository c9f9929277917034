"""Stories of policy lists that the operator has chosen [cs "Moderation policy lists"]."""

from pathlib import Path

import pytest

from homeserver.app.config import Rooms
from homeserver.core.policy_lists import ROOM, SERVER, USER, policy_rules
from homeserver.core.room_versions import V11
from tests.kit.room_builder import ALICE, RoomBuilder
from tests.kit.server import Client, plain_config, running, segment
from tests.kit.sync_calls import create


async def ban(client: Client, list_id: str, kind: str, entity: str | None, key: str = "rule") -> None:
    content = {} if entity is None else {"entity": entity, "recommendation": "m.ban", "reason": "x"}
    await client.put(f"/v3/rooms/{segment(list_id)}/state/{kind}/{key}", content)


async def test_the_lists_are_heeded(pg_url: str, tmp_path: Path) -> None:
    async with running(pg_url, plain_config(tmp_path)) as server:
        root = await server.register("root")
        list_id = await create(root)
    async with running(pg_url, plain_config(tmp_path, rooms=Rooms(policy_rooms=[list_id]))) as server:
        root = await server.login(root.user_id)
        mallory, bob = await server.register("mallory"), await server.register("bob")
        nice, bad = await create(mallory, preset="public_chat"), await create(mallory, preset="public_chat")
        invite, welcome = f"/v3/rooms/{segment(nice)}/invite", {"user_id": bob.user_id}
        await ban(root, list_id, USER, "@mal*:localhost")
        await ban(root, list_id, ROOM, bad)
        assert await mallory.refused("POST", invite, welcome) == (403, "M_FORBIDDEN")
        for path, body in (
            (f"/v3/join/{segment(bad)}", {}),
            (f"/v3/rooms/{segment(bad)}/join", {}),
            (f"/v3/knock/{segment(bad)}", {}),
        ):
            assert await bob.refused("POST", path, body) == (403, "M_FORBIDDEN")
        member = f"/v3/rooms/{segment(bad)}/state/m.room.member"
        entering = {"membership": "join"}
        assert await bob.refused("PUT", f"{member}/{segment(bob.user_id)}", entering) == (403, "M_FORBIDDEN")
        await mallory.put(f"{member}/{segment(mallory.user_id)}", {**entering, "displayname": "M"})
        await bob.post(f"/v3/join/{segment(nice)}")
        await bob.post(f"/v3/rooms/{segment(nice)}/leave")
        await ban(root, list_id, USER, None)  # lifted
        await ban(root, list_id, SERVER, "*")  # never our own
        await mallory.post(invite, welcome)


@pytest.mark.parametrize(
    ("kind", "content", "banned"),
    [
        (USER, {"entity": "@eve:far.example", "recommendation": "m.ban"}, True),
        (USER, {"entity": "@e?e:*", "recommendation": "org.matrix.mjolnir.ban"}, True),
        (SERVER, {"entity": "*.example", "recommendation": "m.ban"}, True),
        (SERVER, {"entity": "far.example", "recommendation": "m.ban"}, True),
        (SERVER, {"entity": "near.example", "recommendation": "m.ban"}, False),
        (USER, {"entity": "@eve:far.example", "recommendation": "m.takedown"}, False),
        (USER, {"entity": ["@eve:far.example"], "recommendation": "m.ban"}, False),
        (USER, {"entity": "@eve:far.example", "recommendation": ["m.ban"]}, False),
        (USER, {}, False),
        (ROOM, {"entity": "@eve:far.example", "recommendation": "m.ban"}, False),
    ],
)
def test_rules(kind: str, content: dict[str, object], banned: bool) -> None:
    event = RoomBuilder(V11).created_by(ALICE).send_state(ALICE, kind, "x", content)
    assert policy_rules([event]).bans_user("@eve:far.example", ours=False) is banned
