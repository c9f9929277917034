"""The way out: connections to where discovery leads, and nowhere else.

A request is for a `Route`: addresses, the name that the certificate must be valid for, and the Host header. aiohttp is
given a made-up host for each route, so that connections are shared by those and only those requests that lead to the
same addresses under the same name; it never looks a name up. Each socket is refused if its address is not public.
"""

import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from attrs import frozen
from yarl import URL

from federation.protocol.discovery import Route
from homeserver.core.networks import Networks
from homeserver.services.guarded_http import admitted_socket

USER_AGENT = "Homing"
_MOST_AT_ONCE = 16  # connections to one route in use
_IDLE = 30.0  # seconds an unused connection is kept; other servers close theirs after a minute or so
_CHUNK = 64 * 1024
_PRIVATE = "not a public address, and not in federation.allowed_networks"


class TooLarge(Exception):
    """The answer is longer than allowed."""


@frozen
class Order:
    """A request as it goes over the wire. `connect` and `silence` are limits in seconds."""

    method: str
    target: str  # path and query, percent-encoded
    headers: Mapping[str, str]
    body: bytes | None
    connect: float
    silence: float


@frozen
class Exchange:
    """A request that is being answered: status and headers are there, the body comes."""

    status: int
    headers: Mapping[str, str]  # knows no case
    content: aiohttp.StreamReader

    async def limited(self, most: int) -> AsyncIterator[bytes]:
        """The body in pieces, decompressed; raises TooLarge when there is more than `most` bytes of it."""
        length = self.headers.get("Content-Length", "")
        if length.isdecimal() and len(length) < 20 and int(length) > most:
            raise TooLarge
        read = 0
        async for chunk in self.content.iter_chunked(_CHUNK):
            read += len(chunk)
            if read > most:
                raise TooLarge
            yield chunk


@frozen
class Trust:
    """Whose certificates are good: the system's authorities, and those of an extra file."""

    authorities: Path | None = None
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        """Raises OSError (ssl.SSLError is one) where the file cannot be used."""
        made = ssl.create_default_context()
        if self.authorities is not None:
            made.load_verify_locations(cafile=self.authorities)
        if not self.verify:
            made.check_hostname = False
            made.verify_mode = ssl.CERT_NONE
        made.set_alpn_protocols(["http/1.1"])
        return made


class Outside:
    """Opens connections, keeps them for a while. `close` when nothing is asked any more."""

    def __init__(self, networks: Networks, tls: ssl.SSLContext, *, most_connections: int = 400) -> None:
        self._networks = networks
        self._tls = tls
        self._most = most_connections
        self._routes = _Routes()
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    @asynccontextmanager
    async def exchange(self, route: Route, order: Order) -> AsyncIterator[Exchange]:
        """Send a request; the block reads the answer. Raises aiohttp.ClientError, OSError, TimeoutError.

        Redirects are answers like any other.
        """
        host = self._routes.enter(route)
        try:
            url = URL(f"https://{host}{order.target}", encoded=True)
            async with self._opened().request(
                order.method,
                url,
                headers={"Host": route.identity.host_header, **order.headers},
                data=order.body,
                allow_redirects=False,
                server_hostname=route.identity.tls_name,
                timeout=aiohttp.ClientTimeout(total=None, connect=order.connect, sock_read=order.silence),
            ) as answer:
                yield Exchange(answer.status, answer.headers, answer.content)
        except aiohttp.ClientConnectorCertificateError as cause:
            raise ConnectionError(str(cause.certificate_error)) from cause
        except aiohttp.ClientConnectorError as cause:  # its own words name the made-up host
            raise ConnectionError(cause.os_error.strerror or str(cause.os_error)) from cause
        finally:
            self._routes.leave(host)

    async def close(self) -> None:
        """Cut what is still open; nothing goes out any more."""
        self._closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        """Made at first use, because it belongs to the running loop."""
        if self._closed:
            raise ConnectionError("this server is stopping")
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=self._routes,
                use_dns_cache=False,
                ssl=self._tls,
                limit=self._most,
                limit_per_host=_MOST_AT_ONCE,
                keepalive_timeout=_IDLE,
                socket_factory=self._socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=True,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"},
                skip_auto_headers=("Accept", "Content-Type"),
                trust_env=False,
            )
        return self._session

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        return admitted_socket(info, self._networks, _PRIVATE)


class _Routes(AbstractResolver):
    """The routes of requests under way, under their made-up hosts: a look-up that looks nothing up."""

    def __init__(self) -> None:
        self._entered: dict[str, tuple[Route, int]] = {}

    def enter(self, route: Route) -> str:
        host = _made_up(route)
        self._entered[host] = (route, self._entered.get(host, (route, 0))[1] + 1)
        return host

    def leave(self, host: str) -> None:
        route, users = self._entered.pop(host)
        if users > 1:
            self._entered[host] = (route, users - 1)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        route, _ = self._entered[host]
        return [
            ResolveResult(
                hostname=host,
                host=target.host,
                port=target.port,
                family=socket.AF_INET6 if ":" in target.host else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for target in route.targets
        ]

    async def close(self) -> None:
        """Nothing is open."""


def _made_up(route: Route) -> str:
    """One host for one name at one set of addresses, in whatever order they were told."""
    targets = sorted(f"{target.host} {target.port}" for target in route.targets)
    digest = hashlib.blake2b("\n".join((route.identity.tls_name, *targets)).encode(), digest_size=20)
    return f"{digest.hexdigest()}.invalid"
