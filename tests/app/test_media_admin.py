"""What operators do with media, by command and by request."""

import asyncio

from click.testing import CliRunner

from homeserver.app.media_commands import media_group
from tests.client_api.test_content_repository import download, fetch, upload
from tests.client_api.test_thumbnails import thumbnail
from tests.services.media import images

ADMIN = "/_synapse/admin/v1"


async def command(server, *arguments):
    folder = str(server.config.server.folder)
    told = [*arguments, "--data", folder, "--url", server.url]
    return await asyncio.to_thread(CliRunner().invoke, media_group, told)


async def administrator(server):
    """A user who may do everything."""
    client = await server.register()
    async with server.database.writer() as conn:
        await conn.execute("UPDATE accounts SET admin = true")
    return await server.login(client.user_id)


def files(server):
    return len(list((server.config.server.folder / "media").glob("??/??/*")))


async def test_only_operators(server):
    alice = await server.register()
    medium = await upload(alice)
    for method, path in (
        ("POST", f"{ADMIN}/media/quarantine/{medium}"),
        ("POST", f"{ADMIN}/media/unquarantine/{medium}"),
        ("DELETE", f"{ADMIN}/media/{medium}"),
        ("POST", f"{ADMIN}/purge_media_cache?before_ts=1"),
    ):
        assert await alice.refused(method, path) == (403, "M_FORBIDDEN")
        assert await server.anonymous().refused(method, path) == (401, "M_MISSING_TOKEN")
    assert (await fetch(alice, download(medium)))[0].status == 200


async def test_quarantine_and_release(server):
    admin, alice = await administrator(server), await server.register()
    medium = await upload(alice, images.image())
    same = await upload(alice, images.image())
    await fetch(alice, thumbnail(medium), width=50, height=50)
    answer = await admin.post(f"{ADMIN}/media/quarantine/{medium}")
    assert answer == {"num_quarantined": 2}
    for path in (download(medium), download(same), f"{thumbnail(medium)}?width=50&height=50"):
        assert await alice.refused("GET", path) == (404, "M_NOT_FOUND")
    await admin.post(f"{ADMIN}/media/unquarantine/{medium}")
    assert (await fetch(alice, download(same)))[1] == images.image()


async def test_delete(server):
    admin, alice = await administrator(server), await server.register()
    medium = await upload(alice, images.image())
    await fetch(alice, thumbnail(medium), width=50, height=50)
    assert files(server) == 2
    answer = await admin.do("DELETE", f"{ADMIN}/media/{medium}")
    assert answer == {"deleted_media": [medium.split("/")[1]], "total": 1}
    assert files(server) == 0
    assert await alice.refused("GET", download(medium)) == (404, "M_NOT_FOUND")
    assert await admin.refused("DELETE", f"{ADMIN}/media/{medium}") == (404, "M_NOT_FOUND")


async def test_commands(server):
    alice = await server.register()
    medium = await upload(alice)
    told = await command(server, "quarantine", f"mxc://{medium}")
    assert (told.exit_code, told.output) == (0, "1 withheld\n")
    assert await alice.refused("GET", download(medium)) == (404, "M_NOT_FOUND")
    assert (await command(server, "release", f"mxc://{medium}")).output == "free again\n"
    assert (await command(server, "purge", "0")).output == "0 deleted\n"
    assert (await fetch(alice, download(medium)))[0].status == 200
    assert (await command(server, "delete", f"mxc://{medium}")).output == "deleted\n"
    told = await command(server, "delete", f"mxc://{medium}")
    assert (told.exit_code, "There is no such file" in told.output) == (1, True)
    told = await command(server, "delete", "https://example.org/x")
    assert (told.exit_code, "is no media URI" in told.output) == (1, True)
