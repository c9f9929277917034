"""Listening, and stopping without breaking off what runs."""

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from attrs import evolve

from homeserver.core.errors import MatrixError
from homeserver.web.connection import Connections
from homeserver.web.dispatch import Dispatcher
from homeserver.web.endpoint import Endpoint
from homeserver.web.gate import Gate
from homeserver.web.metrics import HttpMetrics
from homeserver.web.rate_limit import RateLimiter
from homeserver.web.router import Router
from homeserver.web.settings import WebSettings

_MAX_LINE = 32 * 1024  # a filter may stand in the query of a sync
_BACKLOG = 1024
_LINGER = 3.0  # how long to swallow the rest of a refused body, so that its sender can read the refusal
_NO_FAULTS: Mapping[type[Exception], MatrixError] = MappingProxyType({})


class Web:
    """A set of endpoints at any number of addresses.

    `faults` says what to tell the caller about exceptions of other layers (a lost database connection); any
    other exception is a 500 with its traceback in the log.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        gate: Gate,
        *,
        limiter: RateLimiter,
        metrics: HttpMetrics,
        settings: WebSettings,
        faults: Mapping[type[Exception], MatrixError] = _NO_FAULTS,
    ) -> None:
        self.endpoints = tuple(endpoints)
        for endpoint in self.endpoints:
            if endpoint.rate is not None:
                limiter.require_known(endpoint.rate)
        self._settings = settings
        public = [endpoint for endpoint in self.endpoints if endpoint.is_public]
        direct = evolve(settings, trust_forwarded=False)
        self._dispatchers = {
            False: Dispatcher(Router(self.endpoints), gate, limiter, metrics, settings, faults),
            True: Dispatcher(Router(public), gate, limiter, metrics, direct, faults),
        }
        self._connections: dict[bool, Connections] = {}
        metrics.connected = lambda: sum(len(one.connections) for one in self._connections.values())
        self._listeners: list[asyncio.Server] = []

    async def listen(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        public: bool = False,
        reuse_port: bool = False,
    ) -> int:
        """Serve at a TCP address; gives the port, which the system chooses if `port` is 0.

        A `public` one has no proxy before it: what is for the operator is not served there.
        """
        listener = await asyncio.get_running_loop().create_server(
            self._factory(public), host, port, ssl=tls, backlog=_BACKLOG, reuse_port=reuse_port or None
        )
        self._listeners.append(listener)
        bound: int = listener.sockets[0].getsockname()[1]
        return bound

    async def listen_unix(self, path: str) -> None:
        """Serve at a Unix socket, for a reverse proxy on the same machine."""
        loop = asyncio.get_running_loop()
        self._listeners.append(await loop.create_unix_server(self._factory(False), path, backlog=_BACKLOG))

    async def stop(self) -> None:
        """Refuse new connections, send waiting clients home, let the others finish within `stop_timeout`."""
        for listener in self._listeners:
            listener.close()
        for connections in self._connections.values():
            connections.stop_polling()
            connections.pre_shutdown()
        await asyncio.gather(
            *(one.shutdown(self._settings.stop_timeout) for one in self._connections.values())
        )
        for listener in self._listeners:
            await listener.wait_closed()
        self._listeners.clear()

    def _factory(self, public: bool) -> Connections:
        if public not in self._connections:
            self._connections[public] = Connections(
                self._dispatchers[public],
                access_log=None,
                keepalive_timeout=self._settings.keepalive_timeout,
                max_line_size=_MAX_LINE,
                lingering_time=_LINGER,
            )
        return self._connections[public]
