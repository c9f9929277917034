"""Stories of policy lists that the operator has chosen [cs "Moderation policy lists"]."""

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from homeserver.app.config import Rooms
from homeserver.app.policy_admin import PATH
from homeserver.app.policy_commands import policy_group
from homeserver.core.policy_lists import ROOM, SERVER, USER, policy_rules
from homeserver.core.room_versions import V11
from homeserver.services import policy_enforcement
from tests.kit.room_builder import ALICE, RoomBuilder
from tests.kit.server import Client, RunningServer, plain_config, running, segment
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


async def command(server: RunningServer, *arguments: str) -> Result:
    folder = str(server.config.server.folder)
    told = ["enforce", *arguments, "--data", folder, "--url", server.url]
    return await asyncio.to_thread(CliRunner().invoke, policy_group, told)


async def test_who_is_in_rooms_already_is_put_out(
    pg_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_enforcement, "MOST", 1)
    monkeypatch.setattr(policy_enforcement, "_PAGE", 2)
    async with running(pg_url, plain_config(tmp_path)) as server:
        root = await server.register("root")
        list_id = await create(root)
        async with server.database.writer() as conn:
            await conn.execute("UPDATE accounts SET admin = true")
    async with running(pg_url, plain_config(tmp_path, rooms=Rooms(policy_rooms=[list_id]))) as server:
        root = await server.login(root.user_id)
        mallory, mary, bob = [await server.register(name) for name in ("mallory", "mary", "bob")]
        ours = [await create(root, preset="public_chat") for _ in range(2)]
        theirs = await create(bob, preset="public_chat")
        for client in (root, mallory):
            await client.post(f"/v3/join/{segment(theirs)}")
        for client in (mallory, bob):
            await client.post(f"/v3/join/{segment(ours[0])}")
        await root.post(f"/v3/rooms/{segment(ours[1])}/invite", {"user_id": mary.user_id})
        assert await root.post(PATH) == {"banned": [], "refused": []}
        await ban(root, list_id, USER, "@ma*:localhost")
        await ban(root, list_id, USER, root.user_id, "own")  # nobody bans themselves
        shown = await command(server, "--as", root.user_id, "--dry-run")
        assert (shown.exit_code, shown.output.count("would be banned")) == (0, 3)
        done = await command(server, "--as", root.user_id)
        assert done.exit_code == 0, done.output
        lines = [line.split(maxsplit=2) for line in done.output.splitlines()[1:]]
        assert sorted(
            (room, user, "banned" if how == "banned" else "refused") for room, user, how in lines
        ) == sorted(
            [
                (ours[0], mallory.user_id, "banned"),
                (ours[1], mary.user_id, "banned"),
                (theirs, mallory.user_id, "refused"),
            ]
        )
        assert await mallory.refused("POST", f"/v3/join/{segment(ours[0])}") == (403, "M_FORBIDDEN")
        member = await root.get(
            f"/v3/rooms/{segment(ours[0])}/state/m.room.member/{segment(mallory.user_id)}"
        )
        assert member == {"membership": "ban", "reason": policy_enforcement.REASON}
        assert (await root.post(PATH, {"dry_run": True}))["total"] == 1  # where root has no power


async def test_who_may_put_people_out(pg_url: str, tmp_path: Path) -> None:
    async with running(pg_url, plain_config(tmp_path)) as server:
        root, bob = await server.register("root"), await server.register("bob")
        async with server.database.writer() as conn:
            await conn.execute("UPDATE accounts SET admin = true WHERE user_id = $1", root.user_id)
        root = await server.login(root.user_id)
        assert await bob.refused("POST", PATH) == (403, "M_FORBIDDEN")
        assert await server.anonymous().refused("POST", PATH) == (401, "M_MISSING_TOKEN")
        for user_id in (bob.user_id, "@none:localhost"):
            assert await root.refused("POST", PATH, {"user_id": user_id}) == (403, "M_FORBIDDEN")
        assert await root.refused("POST", PATH, {"from": {"room_id": "!a"}}) == (400, "M_MISSING_PARAM")
        assert "only in the name of an administrator" in (await command(server, "--as", bob.user_id)).output
