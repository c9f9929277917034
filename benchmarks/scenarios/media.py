"""Pictures up and down, and small forms of them.

One server draws small forms when a picture comes, the other when they are wanted, so the two are measured as one.
Downloads and forms that are there are bytes from the disk to a socket, whoever copies them.
"""

import io
import random
from collections.abc import Awaitable, Callable, Iterator

import orjson
from attrs import Factory, define
from PIL import Image

from benchmarks.figures import Better, Figure, cost_figures
from benchmarks.load import times
from benchmarks.matrix import Client, register_clients
from benchmarks.scenarios.scenario import Round, Scale, Scenario
from benchmarks.servers import Site

PICTURES = 24
DOWNLOADS = 400
WARM_UP = 3  # pictures: who draws starts with the first one
SIZE = (1600, 1200)
MEDIA = "/_matrix/client/v1/media"


async def media(site: Site, scale: Scale) -> Round:
    [client] = await register_clients(site.address, 1)
    numbers = iter(range(10**9))

    async def run() -> list[Figure]:
        album = _Album(client, _pictures(numbers))
        await times(WARM_UP, [album.add])
        figures = await _measured(site, "picture up, and drawn small", PICTURES, album.add)
        figures += await _measured(site, "picture down", DOWNLOADS, album.download)
        return figures + await _measured(site, "thumbnail down", DOWNLOADS, album.thumbnail)

    return run


async def _measured(site: Site, what: str, count: int, step: Callable[[], Awaitable[None]]) -> list[Figure]:
    await site.gauge.quiet()
    cost = await site.gauge.cost(lambda: times(count, [step]))
    return [Figure(f"ms a {what}", 1000 / cost.per_second, Better.LESS), cost_figures(cost, what)[1]]


@define
class _Album:
    """Pictures that are uploaded, then asked for in turn."""

    client: Client
    pictures: Iterator[bytes]
    places: list[str] = Factory(list)
    asked: int = 0

    async def add(self) -> None:
        """A new picture, and the look at it that its sender takes."""
        said = await self.client.request(
            "POST", "/_matrix/media/v3/upload", next(self.pictures), content_type="image/jpeg"
        )
        self.places.append(orjson.loads(said)["content_uri"].removeprefix("mxc://"))
        await self._look(self.places[-1])

    async def download(self) -> None:
        await self.client.request("GET", f"{MEDIA}/download/{self._next()}")

    async def thumbnail(self) -> None:
        await self._look(self._next())

    async def _look(self, place: str) -> None:
        await self.client.request("GET", f"{MEDIA}/thumbnail/{place}?width=320&height=240&method=scale")

    def _next(self) -> str:
        self.asked += 1
        return self.places[self.asked % len(self.places)]


def _pictures(numbers: Iterator[int]) -> Iterator[bytes]:
    """Pictures of soft noise, some hundred kilobytes each, no two alike."""
    made = [_picture(next(numbers)) for _ in range(WARM_UP + PICTURES)]
    return iter(made)


def _picture(number: int) -> bytes:
    noise = Image.frombytes("RGB", (200, 150), random.Random(number).randbytes(200 * 150 * 3))
    file = io.BytesIO()
    noise.resize(SIZE, Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
    return file.getvalue()


SCENARIOS = [Scenario("media", f"Pictures of {SIZE[0]} × {SIZE[1]}, up, down and as thumbnails", media)]
