"""A push gateway on a port of its own: it notes what it is told and answers as the test wants."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from attrs import define, field


@define(eq=False)
class Gateway:
    """What came, in order. `status` and `rejected` are what it answers; `hold` keeps it from answering."""

    url: str = ""
    status: int = 200
    rejected: list[str] = field(factory=list)
    hold: asyncio.Event | None = None
    told: list[dict[str, Any]] = field(factory=list)
    _came: asyncio.Condition = field(factory=asyncio.Condition)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.json()
        async with self._came:
            self.told.append(body["notification"])
            self._came.notify_all()
        if self.hold is not None:
            await self.hold.wait()
        return web.json_response({"rejected": self.rejected}, status=self.status)

    async def until(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many notifications have come."""
        async with asyncio.timeout(15), self._came:
            await self._came.wait_for(lambda: len(self.told) >= count)
        return self.told

    @property
    def event_ids(self) -> list[str | None]:
        return [one.get("event_id") for one in self.told]


@asynccontextmanager
async def push_gateway() -> AsyncIterator[Gateway]:
    """A running gateway."""
    gateway = Gateway()
    app = web.Application()
    app.router.add_post("/_matrix/push/v1/notify", gateway.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    gateway.url = f"http://127.0.0.1:{port}/_matrix/push/v1/notify"
    try:
        yield gateway
    finally:
        if gateway.hold is not None:
            gateway.hold.set()
        await runner.cleanup()
