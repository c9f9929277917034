"""Stories of small images [cs "Thumbnails"]."""

import asyncio

from homeserver.app.config import Media
from tests.client_api.test_content_repository import fetch, upload
from tests.kit.server import plain_config, running
from tests.services.media import images


def thumbnail(medium: str) -> str:
    return f"/_matrix/client/v1/media/thumbnail/{medium}"


async def test_a_thumbnail(server):
    alice = await server.register()
    medium = await upload(alice, images.image("PNG"), "image/png", filename="photo.png")
    answer, content = await fetch(alice, thumbnail(medium), width=50, height=50)
    assert answer.status == 200
    assert images.read(content).size == (96, 48)
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["Content-Disposition"] == "inline; filename=thumbnail.jpeg"
    assert answer.headers["Content-Security-Policy"].startswith("sandbox;")
    tag = answer.headers["ETag"]
    answer, content = await fetch(alice, thumbnail(medium), {"If-None-Match": tag}, width=50, height=50)
    assert (answer.status, content) == (304, b"")


async def test_a_crop_and_an_animation(server):
    alice = await server.register()
    medium = await upload(alice, images.animation(), "image/gif")
    path = thumbnail(medium)
    answer, content = await fetch(alice, path, width=30, height=30, method="crop")
    assert (images.read(content).size, answer.headers["Content-Type"]) == ((32, 32), "image/jpeg")
    answer, content = await fetch(alice, path, width=90, height=90, animated="true")
    assert (images.read(content).n_frames, answer.headers["Content-Type"]) == (3, "image/webp")


async def test_small_images_come_as_they_are(server):
    alice = await server.register()
    original = images.image("PNG", (20, 20))
    medium = await upload(alice, original, "application/octet-stream")
    answer, content = await fetch(alice, thumbnail(medium), width=96, height=96)
    assert (content, answer.headers["Content-Type"]) == (original, "image/png")


async def test_each_is_made_once(server):
    alice = await server.register()
    medium = await upload(alice, images.image("PNG"), "image/png")
    asked = [fetch(alice, thumbnail(medium), width=60 + n, height=60) for n in range(8)]
    contents = {content for _, content in await asyncio.gather(*asked)}
    assert len(contents) == 1
    async with server.database.read() as conn:
        assert await conn.fetchval("SELECT count(*) FROM media_thumbnails") == 1
    assert len(list((server.config.server.folder / "media").glob("??/??/*"))) == 2


NONSENSE = (
    "",
    "width=50",
    "width=0&height=50",
    "width=-5&height=50",
    "width=wide&height=50",
    "width=50&height=50&method=stretch",
    "width=50&height=50&animated=maybe",
)


async def test_wishes_that_make_no_sense(server):
    alice = await server.register()
    medium = await upload(alice, images.image("PNG"))
    for query in NONSENSE:
        status, errcode = await alice.refused("GET", f"{thumbnail(medium)}?{query}")
        assert (status, errcode) in ((400, "M_INVALID_PARAM"), (400, "M_MISSING_PARAM"))


async def test_what_cannot_be_drawn(pg_url, tmp_path):
    config = plain_config(tmp_path, media=Media(thumbnail_pixels=10_000))
    async with running(pg_url, config) as server:
        alice = await server.register()
        for _ in range(2):
            text = await upload(alice, b"no image at all", "image/png")
            refused = await alice.refused("GET", thumbnail(text), width=50, height=50)
            assert refused == (400, "M_UNKNOWN")
            large = await upload(alice, images.image("PNG", (200, 100)), "image/png")
            refused = await alice.refused("GET", thumbnail(large), width=50, height=50)
            assert refused == (413, "M_TOO_LARGE")


async def test_old_paths_are_frozen_too(server):
    alice = await server.register()
    medium = await upload(alice, images.image("PNG"))
    path = f"/_matrix/media/v3/thumbnail/{medium}"
    assert await alice.refused("GET", path, width=50, height=50) == (404, "M_NOT_FOUND")
