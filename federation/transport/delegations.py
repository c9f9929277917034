"""Who serves a host, as its /.well-known/matrix/server says [ss "Resolving server names" 3].

Answers and failures are remembered for as long as the specification recommends. While a delegation that was known
cannot be fetched, it goes on to count: a peer whose web site is down for an hour has not moved.
"""

import asyncio
import time
from collections.abc import Callable

import aiohttp
from attrs import define, field, frozen

from federation.protocol import well_known
from federation.protocol.well_known import Freshness, InvalidWellKnown
from federation.transport.answers import UnusableAnswer, read_bytes
from federation.transport.connect import Exchange, Order, Outside
from federation.transport.name_servers import LookupFailed, NameServers
from federation.transport.remembered import Remembered
from federation.transport.web_addresses import HTTPS, NoWebAddress, web_address

_MOST = 10_000  # hosts remembered
_REDIRECTS = (301, 302, 303, 307, 308)
_CONNECT = 5.0
_SILENCE = 5.0
_WHOLE = 10.0  # seconds, redirects included
_DELEGATES_NOTHING = (InvalidWellKnown, UnusableAnswer, NoWebAddress)
_NOT_REACHED = (aiohttp.ClientError, OSError, TimeoutError)


@frozen
class _Known:
    """`server` is None where a host delegates to nobody; `failures` counts the fetches in a row that told nothing."""

    server: str | None
    good_until: float
    failures: int = 0


@define(eq=False)
class Delegations:
    """Fetches and remembers."""

    outside: Outside
    name_servers: NameServers
    clock: Callable[[], float] = time.time
    port: int = HTTPS  # another one only in tests
    _known: Remembered[str, _Known] = field(factory=lambda: Remembered(_MOST), init=False)
    _fresh: Remembered[str, bool] = field(factory=lambda: Remembered(_MOST), init=False)

    async def server_of(self, hostname: str) -> str | None:
        """The server name that the host delegates to; None where it does not. Raises LookupFailed."""
        now = self.clock()
        known = self._known.get(hostname, now)
        if known is not None and self._fresh.get(hostname, now):
            return known.server
        known, lifetime = await self._asked(hostname, known, now)
        self._known.put(hostname, known, known.good_until)
        self._fresh.put(hostname, True, now + lifetime)
        return known.server

    async def _asked(self, hostname: str, known: _Known | None, now: float) -> tuple[_Known, float]:
        """What to remember, and for how many seconds not to ask again."""
        failures = 1 if known is None else known.failures + 1
        lifetime = well_known.error_lifetime(failures)
        try:
            async with asyncio.timeout(_WHOLE):
                server, good_for = await self._fetch(hostname)
            return _Known(server, now + well_known.MAX_LIFETIME), good_for
        except _DELEGATES_NOTHING:
            return _Known(None, now + well_known.MAX_LIFETIME, failures), lifetime
        except LookupFailed:
            if known is None or known.server is None:
                raise
        except _NOT_REACHED:
            if known is None or known.server is None:
                return _Known(None, now + well_known.MAX_LIFETIME, failures), lifetime
        return _Known(known.server, known.good_until, failures), lifetime

    async def _fetch(self, hostname: str) -> tuple[str, float]:
        """The delegated server, and for how many seconds to believe it."""
        url, followed = well_known.url_of(hostname), 0
        while True:
            address = await web_address(url, self.name_servers, self.port)
            order = Order("GET", address.target, {"Accept": "application/json"}, None, _CONNECT, _SILENCE)
            async with self.outside.exchange(address.route, order) as exchange:
                if exchange.status not in _REDIRECTS:
                    return await self._read(exchange)
                location = exchange.headers.get("Location", "")
            url, followed = well_known.redirected(url, location, followed), followed + 1

    async def _read(self, exchange: Exchange) -> tuple[str, float]:
        if exchange.status >= 500:
            raise aiohttp.ClientError(f"the answer is {exchange.status}")
        if exchange.status != 200:
            raise InvalidWellKnown(f"the answer is {exchange.status}")
        server = well_known.parse(await read_bytes(exchange, well_known.MAX_BYTES))
        return server, well_known.lifetime(Freshness.of(exchange.headers), self.clock())
