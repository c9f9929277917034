"""What operators see of what users reported, by command and by request."""

import asyncio

from click.testing import CliRunner

from homeserver.app.report_commands import report_group
from tests.app.test_media_admin import administrator
from tests.kit.server import segment
from tests.kit.sync_calls import pair, say

PATH = "/_synapse/admin/v1/event_reports"


async def command(server, *arguments):
    folder = str(server.config.server.folder)
    told = [*arguments, "--data", folder, "--url", server.url]
    return await asyncio.to_thread(CliRunner().invoke, report_group, told)


async def test_reports_are_listed_shown_and_ended(server):
    alice, bob, room_id = await pair(server)
    event_id = await say(alice, room_id, "rude words")
    await bob.post(f"/v3/rooms/{segment(room_id)}/report/{segment(event_id)}", {"reason": "rude\nindeed"})
    await bob.post(f"/v3/users/{segment(alice.user_id)}/report", {"reason": "always"})
    await bob.post(f"/v3/rooms/{segment(room_id)}/report", {"reason": ""})
    root = await administrator(server)
    for method, path in (("GET", PATH), ("GET", f"{PATH}/1"), ("DELETE", f"{PATH}/1")):
        assert await bob.refused(method, path) == (403, "M_FORBIDDEN")
        assert await server.anonymous().refused(method, path) == (401, "M_MISSING_TOKEN")
    first = await root.get(PATH, limit=2)
    assert (first["total"], len(first["event_reports"])) == (3, 2)
    rest = await root.get(PATH, limit=2, **{"from": first["next_token"]})
    (oldest,) = rest["event_reports"]
    assert "next_token" not in rest
    assert (oldest["event_id"], oldest["room_id"], oldest["sender"]) == (event_id, room_id, alice.user_id)
    assert (oldest["user_id"], oldest["reason"]) == (bob.user_id, "rude\nindeed")
    shown = await root.get(f"{PATH}/{oldest['id']}")
    assert shown["event_json"]["content"]["body"] == "rude words"
    listed = await command(server, "list")
    assert listed.exit_code == 0, listed.output
    assert "rude indeed" in listed.output
    assert len(listed.output.splitlines()) == 4
    told = await command(server, "show", str(oldest["id"]))
    assert "rude words" in told.output
    assert (await command(server, "delete", str(oldest["id"]))).exit_code == 0
    for number in (str(oldest["id"]), "0", "x", "9" * 30):
        assert await root.refused("GET", f"{PATH}/{number}") == (404, "M_NOT_FOUND")
        assert await root.refused("DELETE", f"{PATH}/{number}") == (404, "M_NOT_FOUND")
    assert (await root.get(PATH))["total"] == 2
    assert (await command(server, "show", "77")).exit_code != 0
