"""What is drawn of good images, and that hostile ones cost little."""

import time

import pytest

from homeserver.services.media.sizes import BOXES, kept_size
from homeserver.services.media.studio import CannotDraw, Studio, StudioLimits, TooLargeToDraw
from storage.media_thumbnails import Size
from tests.services.media import images


@pytest.fixture
async def studio():
    studio = Studio(StudioLimits(seconds=5))
    yield studio
    await studio.close()


async def drawn(studio, tmp_path, content, size):
    """The thumbnail as an image; None where the source is its own."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content)
    target.unlink(missing_ok=True)
    made = await studio.draw(source, target, size)
    if made.content_type is None:
        assert not target.exists()
        return None
    image = images.read(target.read_bytes())
    assert (image.get_format_mimetype(), image.size) == (made.content_type, (made.width, made.height))
    return image


@pytest.mark.parametrize(
    ("wish", "kept"),
    [
        (Size(1, 1, True, False), (32, 32)),
        (Size(33, 20, True, False), (96, 60)),
        (Size(96, 96, True, False), (96, 96)),
        (Size(128, 128, True, False), (320, 320)),
        (Size(1600, 900, True, False), (1600, 900)),
        (Size(9, 16, True, False), (18, 32)),
        (Size(90_000, 90_000, True, False), (3200, 3200)),
        (Size(320, 240, False, False), (320, 240)),
        (Size(321, 100, False, False), (640, 480)),
        (Size(100, 241, False, True), (640, 480)),
        (Size(90_000, 1, False, False), BOXES[-1]),
    ],
)
def test_sizes_are_few_and_not_smaller_than_wished(wish, kept):
    size = kept_size(wish)
    assert (size.width, size.height) == kept
    assert (size.crop, size.animated) == (wish.crop, wish.animated)


SCALE, CROP = Size(96, 96, False, False), Size(96, 96, True, False)


@pytest.mark.parametrize(
    ("content", "size", "expected", "kind"),
    [
        (images.image("PNG"), SCALE, (96, 48), "JPEG"),
        (images.image("JPEG", (4000, 2000)), SCALE, (96, 48), "JPEG"),
        (images.image("JPEG", (401, 203), "L"), SCALE, (96, 49), "JPEG"),
        (images.image("JPEG", (400, 200), "CMYK"), SCALE, (96, 48), "JPEG"),
        (images.image("PNG", (400, 200), "P"), SCALE, (96, 48), "JPEG"),
        (images.image("WEBP"), SCALE, (96, 48), "JPEG"),
        (images.image("AVIF"), SCALE, (96, 48), "JPEG"),
        (images.image("GIF"), SCALE, (96, 48), "JPEG"),
        (images.transparent(), SCALE, (96, 48), "PNG"),
        (images.image("PNG"), CROP, (96, 96), "JPEG"),
        (images.image("JPEG", (4000, 50)), CROP, (50, 50), "JPEG"),  # nothing is made larger
        (images.sideways(), SCALE, (48, 96), "JPEG"),
        (images.sideways((4000, 2000)), Size(320, 640, True, False), (320, 640), "JPEG"),
        (images.image("AVIF", (20, 10)), SCALE, (20, 10), "JPEG"),  # a thumbnail is never AVIF
        (images.animation(), SCALE, (96, 48), "JPEG"),
        (images.animation("GIF", (20, 10)), SCALE, (20, 10), "JPEG"),  # must not move
    ],
)
async def test_still_images(studio, tmp_path, content, size, expected, kind):
    image = await drawn(studio, tmp_path, content, size)
    assert (image.size, image.format, getattr(image, "is_animated", False)) == (expected, kind, False)


async def test_what_is_seen_stays(studio, tmp_path):
    image = await drawn(studio, tmp_path, images.image("PNG"), CROP)
    left, right = image.getpixel((10, 48)), image.getpixel((85, 48))
    assert left[0] > 200 > 50 > left[2]
    assert right[2] > 200 > 50 > right[0]
    image = await drawn(studio, tmp_path, images.sideways(), SCALE)  # turned: red is above
    assert image.getpixel((24, 5))[0] > 200
    assert image.getpixel((24, 90))[2] > 200


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
async def test_animations_move_on_request(studio, tmp_path, kind):
    content = images.animation(kind)
    image = await drawn(studio, tmp_path, content, Size(96, 96, False, True))
    assert (image.format, image.size, image.n_frames) == ("WEBP", (96, 48), 3)
    image = await drawn(studio, tmp_path, content, SCALE)
    assert not getattr(image, "is_animated", False)


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (images.image("PNG", (96, 48)), SCALE),
        (images.image("JPEG", (50, 48)), CROP),
        (images.animation("GIF", (20, 10)), Size(96, 96, False, True)),
    ],
)
async def test_small_images_are_their_own_thumbnails(studio, tmp_path, content, size):
    assert await drawn(studio, tmp_path, content, size) is None


PNG = images.image("PNG")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (images.bomb(), TooLargeToDraw),
        (images.bomb(5_000, 5_000), CannotDraw),  # says more than it has
        (images.text_bomb(), CannotDraw),
        (PNG[: len(PNG) // 2], CannotDraw),
        (images.image("JPEG", (3000, 3000))[:5000], CannotDraw),
        (b"\x89PNG\r\n\x1a\n" + b"\xff" * 1000, CannotDraw),
        (b"GIF89a", CannotDraw),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n", CannotDraw),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", CannotDraw),
        (b"", CannotDraw),
    ],
)
async def test_hostile_images_cost_little(studio, tmp_path, content, fault):
    begun = time.monotonic()
    with pytest.raises(fault):
        await drawn(studio, tmp_path, content, SCALE)
    assert time.monotonic() - begun < 5
    # Whoever comes next is served.
    assert (await drawn(studio, tmp_path, PNG, SCALE)).size == (96, 48)


async def test_a_polyglot_is_drawn_as_what_it_begins_with(studio, tmp_path):
    content = images.image("GIF") + b"<script>alert(1)</script>PK\x03\x04"
    image = await drawn(studio, tmp_path, content, SCALE)
    assert image.format == "JPEG"


async def test_an_animation_that_never_ends_stands_still(studio, tmp_path):
    image = await drawn(studio, tmp_path, images.endless_gif(3000), Size(96, 96, False, True))
    assert not getattr(image, "is_animated", False)


async def test_what_takes_too_long_is_ended(tmp_path):
    studio = Studio(StudioLimits(seconds=0.01))
    try:
        with pytest.raises(TooLargeToDraw):
            await drawn(studio, tmp_path, images.honest_bomb(), SCALE)
    finally:
        await studio.close()


async def test_the_dearest_image_is_within_its_time_and_memory(studio, tmp_path):
    image = await drawn(studio, tmp_path, images.honest_bomb(), SCALE)
    assert image.size == (96, 96)
