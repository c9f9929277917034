"""How a supervisor asks whether we live, whether we can serve, and what we count."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from attrs import frozen
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Reply, Result

_READY_TIMEOUT = 5.0

# Each part of the server by name, and what is wrong with it, if anything is.
ReadyCheck = Callable[[], Awaitable[Mapping[str, str | None]]]


@frozen
class Health:
    """GET /health, /_homing/ready and, if wanted on this listener, /metrics."""

    ready: ReadyCheck
    registry: CollectorRegistry | None = None

    def endpoints(self) -> list[Endpoint]:
        endpoints = [
            Endpoint("GET", "/health", self.live, auth=Auth.NONE),
            Endpoint("GET", "/_homing/ready", self.readiness, auth=Auth.NONE),
        ]
        if self.registry is not None:
            endpoints.append(
                Endpoint("GET", "/metrics", self.metrics, auth=Auth.NONE, also=("/_homing/metrics",))
            )
        return endpoints

    async def live(self, call: Call) -> Result:
        """That this answers at all is the news."""
        return Reply(200, b"OK", content_type="text/plain; charset=utf-8")

    async def readiness(self, call: Call) -> Result:
        """200 if every part can do its work, 503 otherwise."""
        try:
            async with asyncio.timeout(_READY_TIMEOUT):
                parts = dict(await self.ready())
        except TimeoutError:
            parts = {"check": f"no result within {_READY_TIMEOUT:g} s"}
        ready = not any(parts.values())
        return Reply(
            200 if ready else 503, {"ready": ready, "problems": {k: v for k, v in parts.items() if v}}
        )

    async def metrics(self, call: Call) -> Result:
        """The Prometheus text format."""
        assert self.registry is not None
        text = await asyncio.to_thread(generate_latest, self.registry)
        return Reply(200, text, content_type=CONTENT_TYPE_LATEST)
