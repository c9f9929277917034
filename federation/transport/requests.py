"""Requests to other servers: signed, limited in time and size, with failures that callers can tell apart.

Nothing is repeated here: whoever asks knows whether asking again, or asking somebody else, is right. What a request
teaches of the peer's health goes to `Destinations`, which refuses requests to a peer that is down before they start.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypedDict, Unpack
from urllib.parse import quote, urlencode

import aiohttp
from attrs import frozen

from federation.backoff import Destinations
from federation.metrics import FederationMetrics
from federation.peers import Peers
from federation.protocol import x_matrix
from federation.transport.answers import (
    Refusal,
    UnusableAnswer,
    read_bytes,
    read_object,
    read_pair,
    read_refusal,
)
from federation.transport.connect import Exchange, Order, Outside, TooLarge
from federation.transport.name_servers import LookupFailed
from federation.transport.resolver import NoRoute, Resolver
from federation.transport.web_addresses import NoWebAddress, web_address
from homeserver.core import canonical_json
from homeserver.core.event_build import Signer

MIB = 1024 * 1024

_UNTOLD_WAIT = 10.0  # seconds, after a 429 that does not say how long
_FAULTS = (aiohttp.ClientError, OSError, TimeoutError, NoRoute, UnusableAnswer)

Query = Mapping[str, str | int | Sequence[str]]
Body = Mapping[str, Any] | bytes


class PeerFault(Exception):
    """A request to another server came to nothing."""

    def __init__(self, destination: str, reason: str) -> None:
        super().__init__(f"{destination}: {reason}")
        self.destination = destination
        self.reason = reason


class PeerRefused(PeerFault):
    """The peer answered with an error. `errcode` and `error` are empty where it did not say."""

    def __init__(self, destination: str, refusal: Refusal) -> None:
        super().__init__(destination, f"{refusal.status} {refusal.errcode} {refusal.error}".strip())
        self.status = refusal.status
        self.errcode = refusal.errcode
        self.error = refusal.error
        self.body: Mapping[str, Any] = refusal.body
        self.retry_after = refusal.retry_after  # seconds; None where it did not say


class PeerUnreachable(PeerFault):
    """No route, no connection, too slow, an answer that cannot be read, or not to be asked just now."""


class _ReadersFault(Exception):
    """Who read a streamed answer has failed at something else: the peer is not to blame."""

    def __init__(self, fault: Exception) -> None:
        super().__init__()
        self.fault = fault


@frozen
class Patience:
    """How long to wait, in seconds, and how much to read."""

    connect: float
    total: float
    max_bytes: int
    silence: float = 60.0  # the longest pause between two pieces of the answer
    unparsed: frozenset[str] = frozenset()  # arrays whose elements are left as text where the answer is large


QUICK = Patience(connect=5, total=10, max_bytes=4 * MIB)  # a client waits, and can do without
NORMAL = Patience(connect=10, total=30, max_bytes=32 * MIB)
LONG = Patience(connect=10, total=180, max_bytes=256 * MIB, silence=180)  # joins, states of large rooms
STREAM = Patience(connect=10, total=3600, max_bytes=4096 * MIB, silence=30)  # media


@frozen
class Streamed:
    """An answer that is read piece by piece."""

    status: int
    headers: Mapping[str, str]  # knows no case
    chunks: AsyncIterator[bytes]


@frozen
class _Ask:
    """One request, as `_exchange` needs it."""

    method: str
    destination: str
    target: str  # path and query as on the wire
    body: bytes | None
    patience: Patience
    even_if_down: bool = False


class Manner(TypedDict, total=False):
    """How to ask: with `NORMAL` patience if not told; `even_if_down` asks also while the peer is left alone."""

    patience: Patience
    even_if_down: bool


@frozen
class PeerRequests:
    """Asks other servers. Paths are percent-encoded already (see `federation.client.paths`)."""

    signer: Signer
    peers: Peers
    resolver: Resolver
    outside: Outside
    destinations: Destinations
    metrics: FederationMetrics

    async def get(
        self, destination: str, path: str, query: Query | None = None, **manner: Unpack[Manner]
    ) -> dict[str, Any]:
        """GET; the answer must be a JSON object."""
        return await self._object(_ask("GET", destination, _target(path, query), None, manner))

    async def put(
        self, destination: str, path: str, body: Body, query: Query | None = None, **manner: Unpack[Manner]
    ) -> dict[str, Any]:
        """PUT of a JSON object, or of its canonical bytes."""
        return await self._object(_ask("PUT", destination, _target(path, query), body, manner))

    async def post(
        self, destination: str, path: str, body: Body, query: Query | None = None, **manner: Unpack[Manner]
    ) -> dict[str, Any]:
        """POST of a JSON object, or of its canonical bytes."""
        return await self._object(_ask("POST", destination, _target(path, query), body, manner))

    async def get_bytes(self, destination: str, path: str, **manner: Unpack[Manner]) -> bytes:
        """GET; the answer as it came."""
        return await self._bytes(_ask("GET", destination, path, None, manner))

    async def post_bytes(self, destination: str, path: str, body: Body, **manner: Unpack[Manner]) -> bytes:
        """POST; the answer as it came."""
        return await self._bytes(_ask("POST", destination, path, body, manner))

    @asynccontextmanager
    async def stream(
        self,
        destination: str,
        path: str,
        query: Query | None = None,
        *,
        patience: Patience = STREAM,
    ) -> AsyncIterator[Streamed]:
        """GET; the answer as it comes in, no more of it than `patience.max_bytes`."""
        ask = _Ask("GET", destination, _target(path, query), None, patience)
        try:
            async with self._exchange(ask) as exchange:
                try:
                    yield Streamed(exchange.status, exchange.headers, self._chunks(ask, exchange))
                except _FAULTS as fault:
                    raise _ReadersFault(fault) from fault
        except _ReadersFault as wrapped:
            raise wrapped.fault from None

    @asynccontextmanager
    async def stream_elsewhere(
        self, destination: str, url: str, *, patience: Patience = STREAM
    ) -> AsyncIterator[Streamed]:
        """GET of a URL that `destination` told us, on any host, unsigned. Its faults are not the peer's health."""
        try:
            async with asyncio.timeout(patience.total):
                address = await web_address(url, self.resolver.name_servers)
                order = Order("GET", address.target, {}, None, patience.connect, patience.silence)
                async with self.outside.exchange(address.route, order) as exchange:
                    if exchange.status != 200:
                        raise PeerUnreachable(destination, f"it led us to an answer of {exchange.status}")
                    yield Streamed(200, exchange.headers, exchange.limited(patience.max_bytes))
        except (*_FAULTS, TooLarge, NoWebAddress, LookupFailed) as cause:
            raise PeerUnreachable(destination, f"it led us nowhere: {cause}") from cause

    async def _chunks(self, ask: _Ask, exchange: Exchange) -> AsyncIterator[bytes]:
        try:
            async for chunk in exchange.limited(ask.patience.max_bytes):
                yield chunk
        except (*_FAULTS, TooLarge) as cause:
            raise self._unreachable(ask.destination, cause) from cause

    async def put_pair(self, destination: str, path: str, body: Body, patience: Patience) -> dict[str, Any]:
        """PUT to a deprecated endpoint that answers with [200, {…}]; gives the object."""
        ask = _Ask("PUT", destination, path, _canonical(body), patience)
        async with self._exchange(ask) as exchange:
            return await read_pair(exchange, patience.max_bytes)

    async def _object(self, ask: _Ask) -> dict[str, Any]:
        async with self._exchange(ask) as exchange:
            return await read_object(exchange, ask.patience.max_bytes, ask.patience.unparsed)

    async def _bytes(self, ask: _Ask) -> bytes:
        async with self._exchange(ask) as exchange:
            return await read_bytes(exchange, ask.patience.max_bytes)

    @asynccontextmanager
    async def _exchange(self, ask: _Ask) -> AsyncIterator[Exchange]:
        """Ask, read the answer in the block, and remember what this says of the peer."""
        self._require_askable(ask.destination, ask.even_if_down)
        try:
            async with asyncio.timeout(ask.patience.total):
                route = await self.resolver.route(ask.destination)
                async with self.outside.exchange(route, self._order(ask)) as exchange:
                    if not 200 <= exchange.status < 300:
                        raise PeerRefused(ask.destination, await read_refusal(exchange))
                    yield exchange
        except PeerRefused as refused:
            self._learn(refused)
            raise
        except _FAULTS as cause:
            raise self._unreachable(ask.destination, cause) from cause
        self.destinations.answered(ask.destination)
        self.metrics.count("out", "ok")

    def _require_askable(self, destination: str, even_if_down: bool) -> None:
        refusal = self.peers.refusal(destination)
        if refusal is None and not even_if_down and not self.destinations.may_ask(destination):
            refusal = "it did not answer lately, and is left alone for a while"
            self.metrics.count("out", "backing_off")
        if refusal is not None:
            raise PeerUnreachable(destination, refusal)

    def _order(self, ask: _Ask) -> Order:
        """The request with its signature [ss "Request Authentication"]."""
        request = x_matrix.SignedRequest(
            ask.method, ask.target, self.signer.server_name, ask.destination, ask.body
        )
        headers = {"Authorization": x_matrix.build(x_matrix.sign(request, self.signer.key))}
        if ask.body is not None:
            headers["Content-Type"] = "application/json"
        return Order(ask.method, ask.target, headers, ask.body, ask.patience.connect, ask.patience.silence)

    def _learn(self, refused: PeerRefused) -> None:
        """A refusal is a sign of life, unless it comes from a proxy before a dead server."""
        self.metrics.count("out", "refused")
        if refused.status == 429:
            self.destinations.hold(refused.destination, refused.retry_after or _UNTOLD_WAIT)
        elif refused.status >= 500 and not refused.errcode:
            self.destinations.failed(refused.destination, refused.reason)
        else:
            self.destinations.answered(refused.destination)

    def _unreachable(self, destination: str, cause: Exception) -> PeerUnreachable:
        slow = isinstance(cause, TimeoutError)
        reason = "no answer in time" if slow else str(cause) or type(cause).__name__
        self.metrics.count("out", "timed_out" if slow else "unreachable")
        self.destinations.failed(destination, reason)
        self.resolver.forget(destination)
        return PeerUnreachable(destination, reason)


def _ask(method: str, destination: str, target: str, body: Body | None, manner: Manner) -> _Ask:
    content = None if body is None else _canonical(body)
    down = manner.get("even_if_down", False)
    return _Ask(method, destination, target, content, manner.get("patience", NORMAL), down)


def _target(path: str, query: Query | None) -> str:
    return f"{path}?{urlencode(query, doseq=True, quote_via=quote)}" if query else path


def _canonical(body: Body) -> bytes:
    """The bytes that are signed and sent. Floats may stand in events of rooms before version 6."""
    if isinstance(body, bytes):
        return body
    try:
        return canonical_json.check(dict(body))
    except canonical_json.NotCanonical:
        return canonical_json.encode_lenient(dict(body))
