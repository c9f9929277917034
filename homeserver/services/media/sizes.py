"""Which sizes thumbnails come in: few, so that few are made and kept [cs "Thumbnails"]."""

from math import ceil

from storage.media_thumbnails import Size

# The five of the specification, and two for large screens. Each is tried in turn.
BOXES = ((32, 32), (96, 96), (320, 240), (640, 480), (800, 600), (1600, 1200), (3200, 2400))
SIDES = (32, 96, 320, 640, 800, 1600, 3200)
_STEPS = 48  # shapes of crops: 1:1, 3:4, 2:3, 9:16, 1:2 are exact


def kept_size(wish: Size) -> Size:
    """The smallest of our sizes that is not smaller than what is wished, or the largest there is."""
    width, height = _crop(wish) if wish.crop else _box(wish)
    return Size(width, height, wish.crop, wish.animated)


def _box(wish: Size) -> tuple[int, int]:
    fitting = (box for box in BOXES if box[0] >= wish.width and box[1] >= wish.height)
    return next(fitting, BOXES[-1])


def _crop(wish: Size) -> tuple[int, int]:
    """The shape is kept, in steps."""
    longer, shorter = max(wish.width, wish.height), min(wish.width, wish.height)
    side = next((side for side in SIDES if side >= longer), SIDES[-1])
    steps = ceil(shorter * _STEPS / longer)
    other = ceil(side * steps / _STEPS)
    return (side, other) if wish.width >= wish.height else (other, side)
