"""Has images drawn, by confined processes (see `drawing`)."""

from pathlib import Path

import structlog
from attrs import define, field, frozen

from homeserver.services.confined import Confined, Failed
from storage.media_thumbnails import Size

log = structlog.get_logger(__name__)

_MODULE = Path(__file__).with_name("drawing.py")
_AS_LARGE_AS_IT_IS = Size(2**30, 2**30, crop=False, animated=True)


class CannotDraw(Exception):
    """The image cannot be read."""


class TooLargeToDraw(CannotDraw):
    """Reading it would take too much memory or time."""


@frozen
class Drawn:
    """What was made; `content_type` is None where the source itself will do."""

    content_type: str | None
    width: int
    height: int


@frozen
class StudioLimits:
    """What drawing may cost."""

    pixels: int = 32_000_000
    seconds: float = 20.0
    processes: int = 1


@define(eq=False)
class Studio:
    """Takes orders; `close` it when there are no more."""

    limits: StudioLimits = StudioLimits()
    _workers: Confined = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._workers = Confined(_MODULE, self.limits.seconds, self.limits.processes)

    async def draw(self, source: Path, target: Path, size: Size) -> Drawn:
        """Draw the source within the size. Raises CannotDraw."""
        order = {
            "source": str(source),
            "target": str(target),
            "width": size.width,
            "height": size.height,
            "crop": size.crop,
            "animated": size.animated,
            "pixels": self.limits.pixels,
        }
        try:
            outcome = await self._workers.order(order)
        except Failed as cause:
            log.info("an image could not be drawn", source=source.name, cause=str(cause))
            raise TooLargeToDraw("it takes too long, or ended the process") from cause
        if outcome.get("fault") == "too_large":
            raise TooLargeToDraw("it is too large")
        if "fault" in outcome:
            raise CannotDraw(outcome.get("cause", ""))
        return Drawn(outcome.get("type"), outcome["width"], outcome["height"])

    async def measure(self, source: Path, scratch: Path) -> Drawn:
        """Width and height. Raises CannotDraw."""
        return await self.draw(source, scratch, _AS_LARGE_AS_IT_IS)

    async def close(self) -> None:
        """End the processes."""
        await self._workers.close()
