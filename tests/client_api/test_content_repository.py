"""Stories of files that come and go [cs "Content repository"]."""

import asyncio

import pytest

from homeserver.app.config import Media
from tests.kit.server import plain_config, running, segment

UPLOAD = "/_matrix/media/v3/upload"
TEXT = b"Hello, media! " * 100


def place(uri: str) -> str:
    """The part of the paths that names the medium."""
    assert uri.startswith("mxc://")
    return uri.removeprefix("mxc://")


async def upload(client, content=TEXT, content_type="text/plain", **query):
    """Upload a file; gives server name and media id with a slash between."""
    headers = {"Authorization": f"Bearer {client.token}"}
    if content_type is not None:
        headers["Content-Type"] = content_type
    async with client.http.post(client.url + UPLOAD, data=content, headers=headers, params=query) as answer:
        assert answer.status == 200, await answer.read()
        return place((await answer.json())["content_uri"])


async def fetch(client, path, headers=None, **query):
    """A download with headers of one's own: the answer with its body."""
    given = {"Authorization": f"Bearer {client.token}"} if client.token else {}
    async with client.http.get(
        client.url + path, headers={**given, **(headers or {})}, params=query
    ) as answer:
        return answer, await answer.read()


def download(medium: str) -> str:
    return f"/_matrix/client/v1/media/download/{medium}"


async def test_what_goes_up_comes_down(server):
    alice, bob = await server.register(), await server.register()
    medium = await upload(alice, filename="note.txt")
    answer, content = await fetch(bob, download(medium))
    assert (answer.status, content) == (200, TEXT)
    assert answer.headers["Content-Type"] == "text/plain"
    assert answer.headers["Content-Disposition"] == "inline; filename=note.txt"
    assert answer.headers["Content-Length"] == str(len(TEXT))
    assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none';")
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"].startswith("private,")


async def test_equal_files_are_kept_once(server):
    alice, bob = await server.register(), await server.register()
    one, other = await upload(alice), await upload(bob)
    assert one != other
    assert len(list((server.config.server.folder / "media").glob("??/??/*"))) == 1
    assert not list((server.config.server.folder / "media" / "drafts").iterdir())


@pytest.mark.parametrize(
    ("content_type", "name", "told_type", "told"),
    [
        ("image/png", "a b.png", "image/png", 'inline; filename="a b.png"'),
        ("text/html", "x.html", "text/html", "attachment; filename=x.html"),
        ("image/svg+xml", None, "image/svg+xml", "attachment"),
        (
            "text/plain; charset=utf-8",
            "ж.txt",
            "text/plain; charset=utf-8",
            "inline; filename*=utf-8''%D0%B6.txt",
        ),
        ("no type at all", 'q"\\.txt', "application/octet-stream", 'attachment; filename="q\\"\\\\.txt"'),
        (None, "line\r\nbreak", "application/octet-stream", "attachment; filename=linebreak"),
    ],
)
async def test_types_and_names(server, content_type, name, told_type, told):
    alice = await server.register()
    query = {} if name is None else {"filename": name}
    medium = await upload(alice, TEXT, content_type, **query)
    answer, _ = await fetch(alice, download(medium))
    assert (answer.headers["Content-Type"], answer.headers["Content-Disposition"]) == (told_type, told)
    answer, _ = await fetch(alice, download(medium) + "/other.txt")
    assert answer.headers["Content-Disposition"].endswith("; filename=other.txt")


async def test_parts_and_copies(server):
    alice = await server.register()
    medium = await upload(alice)
    whole, _ = await fetch(alice, download(medium))
    tag = whole.headers["ETag"]
    answer, content = await fetch(alice, download(medium), {"Range": "bytes=7-12"})
    assert (answer.status, content) == (206, TEXT[7:13])
    assert answer.headers["Content-Range"] == f"bytes 7-12/{len(TEXT)}"
    answer, content = await fetch(alice, download(medium), {"Range": "bytes=7-12", "If-Range": '"older"'})
    assert (answer.status, content) == (200, TEXT)
    answer, content = await fetch(alice, download(medium), {"If-None-Match": f'"x", {tag}'})
    assert (answer.status, content, answer.headers["ETag"]) == (304, b"", tag)
    answer, content = await fetch(alice, download(medium), {"Range": f"bytes={len(TEXT)}-"})
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{len(TEXT)}")
    answer = await alice.ask("HEAD", download(medium))
    assert (answer.status, answer.headers["Content-Length"], answer.content) == (200, str(len(TEXT)), b"")


async def test_large_files_come_whole(server):
    alice = await server.register()
    content = bytes(range(256)) * 8192  # 2 MiB: more than a body may be elsewhere
    medium = await upload(alice, content, "video/mp4")
    _, came = await fetch(alice, download(medium))
    assert came == content


@pytest.mark.parametrize(
    "medium",
    [
        "localhost/nothing",
        "localhost/..%2F..%2Fsecret",
        "127.0.0.1%2F..%2F../x",
        "far..example/x y",
        "localhost/" + "x" * 300,
    ],
)
async def test_what_is_not_there(server, medium):
    alice = await server.register()
    assert await alice.refused("GET", download(medium)) == (404, "M_NOT_FOUND")


async def test_without_a_token_nothing_new_is_to_be_had(server):
    alice, nobody = await server.register(), server.anonymous()
    medium = await upload(alice)
    assert await nobody.refused("GET", download(medium)) == (401, "M_MISSING_TOKEN")
    assert await nobody.refused("POST", UPLOAD, b"x") == (401, "M_MISSING_TOKEN")
    for version in ("v3", "r0", "v1"):
        path = f"/_matrix/media/{version}/download/{medium}"
        assert await nobody.refused("GET", path) == (404, "M_NOT_FOUND")
    # A token changes nothing at the old paths: they are frozen for all.
    assert await alice.refused("GET", f"/_matrix/media/v3/download/{medium}") == (404, "M_NOT_FOUND")


async def test_old_media_stay_open(pg_url, tmp_path):
    config = plain_config(tmp_path, media=Media(unauthenticated=True))
    async with running(pg_url, config) as server:
        medium = await upload(await server.register())
    async with running(pg_url, plain_config(tmp_path)) as server:
        answer, content = await fetch(server.anonymous(), f"/_matrix/media/r0/download/{medium}/a.txt")
        assert (answer.status, content) == (200, TEXT)
        assert answer.headers["Cache-Control"].startswith("public,")


async def test_limits_are_told_and_kept(pg_url, tmp_path):
    media = Media(upload_bytes=2000, user_bytes=3000, user_files=2)
    async with running(pg_url, plain_config(tmp_path, media=media)) as server:
        alice, bob = await server.register(), await server.register()
        assert await alice.get("/v1/media/config") == {"m.upload.size": 2000}
        assert await alice.get("/_matrix/media/v3/config") == {"m.upload.size": 2000}
        assert await alice.refused("POST", UPLOAD, b"x" * 2001) == (413, "M_TOO_LARGE")

        async def endless():
            for _ in range(100):
                yield b"x" * 100

        headers = {"Authorization": f"Bearer {alice.token}"}
        async with alice.http.post(alice.url + UPLOAD, data=endless(), headers=headers) as answer:
            assert (answer.status, (await answer.json())["errcode"]) == (413, "M_TOO_LARGE")
        await upload(alice, b"x" * 2000)
        assert await alice.refused("POST", UPLOAD, b"y" * 1001) == (403, "M_FORBIDDEN")
        await upload(alice, b"y" * 1000)
        assert await alice.refused("POST", UPLOAD, b"z") == (403, "M_FORBIDDEN")
        await asyncio.gather(*(bob.ask("POST", UPLOAD, b"%d" % n) for n in range(5)))
        async with server.database.read() as conn:
            counted = await conn.fetchval("SELECT count(*) FROM media")
        assert counted == 4
        assert len(list((tmp_path / "media").glob("??/??/*"))) == 4


async def test_an_announced_upload(server):
    alice, bob = await server.register(), await server.register()
    created = await alice.post("/_matrix/media/v1/create")
    assert created["unused_expires_at"] > 0
    medium = place(created["content_uri"])
    answer = await bob.ask("GET", download(medium), timeout_ms=0)
    assert (answer.status, answer.errcode) == (504, "M_NOT_YET_UPLOADED")
    waiting = asyncio.create_task(fetch(bob, download(medium)))
    path = f"{UPLOAD}/{medium}"
    assert await bob.refused("PUT", path, TEXT) == (403, "M_FORBIDDEN")
    await alice.do("PUT", path, TEXT, filename="late.txt")
    answer, content = await waiting
    assert content == TEXT
    assert answer.headers["Content-Disposition"] == "attachment; filename=late.txt"
    assert await alice.refused("PUT", path, TEXT) == (409, "M_CANNOT_OVERWRITE_MEDIA")


async def test_announced_ids_are_few_and_expire(pg_url, tmp_path):
    async with running(pg_url, plain_config(tmp_path, media=Media(pending_uploads=2))) as server:
        alice = await server.register()
        created = [await alice.post("/_matrix/media/v1/create") for _ in range(2)]
        answer = await alice.ask("POST", "/_matrix/media/v1/create")
        assert (answer.status, answer.errcode) == (429, "M_LIMIT_EXCEEDED")
        async with server.database.writer() as conn:
            await conn.execute("UPDATE media SET expires_ts = 1")
        for one in created:
            medium = place(one["content_uri"])
            assert await alice.refused("PUT", f"{UPLOAD}/{medium}", b"x") == (404, "M_NOT_FOUND")
            assert await alice.refused("GET", download(medium)) == (404, "M_NOT_FOUND")
        for medium in ("localhost/unknown", "other.example/unknown"):
            assert await alice.refused("PUT", f"{UPLOAD}/{medium}", b"x") == (404, "M_NOT_FOUND")
        await alice.post("/_matrix/media/v1/create")


async def test_guests_read_but_do_not_write(server):
    alice = await server.register()
    guest = server.with_token(await server.anonymous().post("/v3/register", {}, kind="guest"))
    medium = await upload(alice)
    _, content = await fetch(guest, download(medium))
    assert content == TEXT
    assert await guest.refused("POST", UPLOAD, b"x") == (403, "M_GUEST_ACCESS_FORBIDDEN")


async def test_a_lost_file_is_not_found(server):
    alice = await server.register()
    medium = await upload(alice)
    for path in (server.config.server.folder / "media").glob("??/??/*"):
        path.unlink()
    assert await alice.refused("GET", download(segment("localhost") + "/" + medium.split("/")[1])) == (
        404,
        "M_NOT_FOUND",
    )
