"""Makes small images of large ones. Runs in `confined_program`, because what it reads is written by anybody.

{"source": "/…", "target": "/…", "width": 320, "height": 240, "crop": false, "animated": false, "pixels": 32000000}
{"type": "image/jpeg", "width": 320, "height": 200}     drawn; without "type": the source itself will do
{"fault": "too_large"}                                  or "unreadable"
"""

from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from typing import Any

from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF")
SERVED = {"JPEG", "PNG", "GIF", "WEBP"}  # [cs "Content repository"]: what a thumbnail may be

MAX_ANIMATED = 400_000_000  # pixels of all frames together; of more the first frame is drawn
MAX_KEPT = 32_000_000  # pixels of all small frames together
MAX_FRAMES = 2_000
MAX_PROFILE = 64 * 1024
JPEG_QUALITY = 80

_SIDEWAYS = (5, 6, 7, 8)  # values of EXIF's orientation
_ORIENTATION = 0x0112

Order = dict[str, Any]
Outcome = dict[str, Any]


class TooLarge(Exception):
    """More pixels than may be read."""


def answer(order: Order) -> Outcome:
    """One order; `confined_program` calls it."""
    try:
        return draw(order)
    except (TooLarge, MemoryError, Image.DecompressionBombError):
        return {"fault": "too_large"}
    except Exception as fault:  # decoders raise whatever comes to their minds
        return {"fault": "unreadable", "cause": repr(fault)[:200]}


def draw(order: Order) -> Outcome:
    """Read the source, write the target."""
    Image.MAX_IMAGE_PIXELS = order["pixels"]
    with Image.open(order["source"], formats=FORMATS) as image:
        if image.width * image.height > order["pixels"]:
            raise TooLarge
        size, part = placed(natural_size(image), order)
        frames = int(getattr(image, "n_frames", 1)) if order["animated"] else 1
        moving = 1 < frames <= MAX_FRAMES and frames * image.width * image.height <= MAX_ANIMATED
        shown = {"width": size[0], "height": size[1]}
        if size == natural_size(image) and good_as_it_is(image, moving=moving):
            return shown
        if moving:
            return {"type": draw_frames(image, frames, size, part, order["target"]), **shown}
        return {"type": draw_still(image, size, part, order["target"]), **shown}


def natural_size(image: Image.Image) -> tuple[int, int]:
    """Width and height as it is to be seen."""
    width, height = image.size
    sideways = image.format in ("JPEG", "WEBP", "AVIF", "PNG") and orientation(image) in _SIDEWAYS
    return (height, width) if sideways else (width, height)


def orientation(image: Image.Image) -> int:
    """EXIF's word, or upright."""
    with suppress(Exception):  # broken EXIF is no reason for no thumbnail
        return int(image.getexif().get(_ORIENTATION, 1))
    return 1


def good_as_it_is(image: Image.Image, *, moving: bool) -> bool:
    """May the source be its own thumbnail? Not if it moves though it must not."""
    return image.format in SERVED and (moving or not getattr(image, "is_animated", False))


Box = tuple[float, float, float, float]


def placed(natural: tuple[int, int], order: Order) -> tuple[tuple[int, int], Box | None]:
    """The size to draw, and what part of the image goes there. Nothing is ever made larger [cs "Thumbnails"]."""
    (width, height), wide, high = natural, order["width"], order["height"]
    if width <= wide and height <= high:
        return natural, None
    if not order["crop"]:
        factor = min(wide / width, high / height)
        return (max(1, round(width * factor)), max(1, round(height * factor))), None
    shrink = min(1.0, width / wide, height / high)
    size = max(1, int(wide * shrink)), max(1, int(high * shrink))
    factor = min(width / size[0], height / size[1])
    part_width, part_height = size[0] * factor, size[1] * factor
    left, top = (width - part_width) / 2, (height - part_height) / 2
    return size, (left, top, left + part_width, top + part_height)


def draw_still(image: Image.Image, size: tuple[int, int], part: Box | None, target: str) -> str:
    """The first frame; gives its type."""
    profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA") else None
    natural = natural_size(image)
    if image.format == "JPEG" and not getattr(image, "is_animated", False):
        image.draft(image.mode, drafted(image, size, part))
    upright = colored(image)
    if orientation(image) != 1:
        upright = ImageOps.exif_transpose(upright)
    part = scaled_part(part, natural, upright.size)
    small = upright.resize(size, Image.Resampling.LANCZOS, box=part, reducing_gap=2.0)
    kept: dict[str, Any] = {}
    if isinstance(profile, bytes) and len(profile) <= MAX_PROFILE:
        kept["icc_profile"] = profile
    if small.mode == "RGBA" and small.getchannel("A").getextrema()[0] != 255:
        small.save(target, "PNG", **kept)
        return "image/png"
    if small.mode == "RGBA":
        small = small.convert("RGB")
    small.save(target, "JPEG", quality=JPEG_QUALITY, **kept)
    return "image/jpeg"


def drafted(image: Image.Image, size: tuple[int, int], part: Box | None) -> tuple[int, int]:
    """JPEG can be read in half, a quarter, an eighth of its size: the least that has enough pixels, twice over."""
    natural = natural_size(image)
    wide = natural[0] / (part[2] - part[0]) if part else 1.0
    high = natural[1] / (part[3] - part[1]) if part else 1.0
    least = ceil(2 * size[0] * wide), ceil(2 * size[1] * high)
    return least if natural == image.size else (least[1], least[0])


def scaled_part(part: Box | None, natural: tuple[int, int], read: tuple[int, int]) -> Box | None:
    """The part, in an image that was read smaller than it is."""
    if part is None or natural == read:
        return part
    across, down = read[0] / natural[0], read[1] / natural[1]
    return (
        part[0] * across,
        part[1] * down,
        min(part[2] * across, read[0]),
        min(part[3] * down, read[1]),
    )


def colored(image: Image.Image) -> Image.Image:
    """In a form that can be drawn small and written: gray, colors, or colors with transparency."""
    if image.mode in ("L", "RGB", "RGBA"):
        transparent = "transparency" in image.info
        return image.convert("RGBA") if transparent else image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def draw_frames(image: Image.Image, frames: int, size: tuple[int, int], part: Box | None, target: str) -> str:
    """All frames, or so many that they fit into memory; gives the type."""
    step = ceil(frames * size[0] * size[1] / MAX_KEPT)
    drawn: list[Image.Image] = []
    durations: list[int] = []
    loop = image.info.get("loop", 0)
    for number, frame in enumerate(each_frame(image, frames)):
        duration = int(frame.info.get("duration", 100)) or 100
        if number % step:
            durations[-1] += duration
            continue
        small = frame.convert("RGBA").resize(size, Image.Resampling.BILINEAR, box=part, reducing_gap=2.0)
        drawn.append(small)
        durations.append(duration)
    first, *others = drawn
    first.save(
        target,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=durations,
        loop=loop,
        quality=70,
        method=1,
    )
    return "image/webp"


def each_frame(image: Image.Image, frames: int) -> Iterator[Image.Image]:
    """One after the other, composed."""
    for number in range(frames):
        image.seek(number)
        yield image
