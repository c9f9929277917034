"""Pictures up and down, and small forms of them."""

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

PICTURES = 12
DOWNLOADS = 60
SIZE = (1600, 1200)
MEDIA = "/_matrix/client/v1/media"


async def media(site: Site, scale: Scale) -> Round:
    [client] = await register_clients(site.address, 1)
    numbers = iter(range(10**9))

    async def run() -> list[Figure]:
        album = _Album(client, _pictures(numbers))
        figures = await _measured(site, "upload", PICTURES, album.upload)
        figures += await _measured(site, "download", DOWNLOADS, album.download)
        figures += await _measured(site, "thumbnail, first", PICTURES, album.thumbnail)
        return figures + await _measured(site, "thumbnail, again", DOWNLOADS, album.thumbnail)

    return run


async def _measured(site: Site, what: str, count: int, step: Callable[[], Awaitable[None]]) -> list[Figure]:
    await site.gauge.quiet()
    cost = await site.gauge.cost(lambda: times(count, [step]))
    article = "an" if what[0] in "aeiou" else "a"
    return [Figure(f"ms {article} {what}", 1000 / cost.per_second, Better.LESS), cost_figures(cost, what)[1]]


@define
class _Album:
    """Pictures that are uploaded, then asked for in turn."""

    client: Client
    pictures: Iterator[bytes]
    places: list[str] = Factory(list)
    asked: int = 0

    async def upload(self) -> None:
        said = await self.client.request(
            "POST", "/_matrix/media/v3/upload", next(self.pictures), content_type="image/jpeg"
        )
        self.places.append(orjson.loads(said)["content_uri"].removeprefix("mxc://"))

    async def download(self) -> None:
        await self.client.request("GET", f"{MEDIA}/download/{self._next()}")

    async def thumbnail(self) -> None:
        await self.client.request(
            "GET", f"{MEDIA}/thumbnail/{self._next()}?width=320&height=240&method=scale"
        )

    def _next(self) -> str:
        self.asked += 1
        return self.places[self.asked % len(self.places)]


def _pictures(numbers: Iterator[int]) -> Iterator[bytes]:
    """Pictures of soft noise, some hundred kilobytes each, no two alike."""
    made = [_picture(next(numbers)) for _ in range(PICTURES)]
    return iter(made)


def _picture(number: int) -> bytes:
    noise = Image.frombytes("RGB", (200, 150), random.Random(number).randbytes(200 * 150 * 3))
    file = io.BytesIO()
    noise.resize(SIZE, Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
    return file.getvalue()


SCENARIOS = [Scenario("media", f"Pictures of {SIZE[0]} × {SIZE[1]}, up, down and as thumbnails", media)]
