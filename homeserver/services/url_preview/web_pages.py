"""Reads from the web what users link to, without being led where only this server can go.

Each socket is refused if its address is not public, whatever names and redirects led there; what is read is limited in
time and size, and must not be packed, as it might unpack to anything.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiohttp
from attrs import define, field, frozen
from yarl import URL

from homeserver.core.globs import Glob, glob
from homeserver.core.networks import Networks
from homeserver.services.guarded_http import Bounds, GuardedHttp

SECONDS = 15.0
CONNECT_SECONDS = 5.0
MAX_REDIRECTS = 5
MAX_URL = 4096
_CONNECTIONS = 20
_PIECE = 64 * 1024
_FIRST_FREE_PORT = 1024  # below are services that a request might talk to by mistake
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_AGENT = "Mozilla/5.0 (compatible; Homing; preview bot)"


class NotRead(Exception):
    """The page cannot be had."""


class NotAllowed(NotRead):
    """Nor must it be asked for."""


def _compiled(patterns: Sequence[str]) -> tuple[Glob, ...]:
    return tuple(glob(pattern, ignore_case=True) for pattern in patterns)


@frozen
class Sites:
    """Which hosts may be asked: the operator's word. `allowed` empty: all but the denied ones."""

    allowed: tuple[Glob, ...] = field(default=(), converter=_compiled)
    denied: tuple[Glob, ...] = field(default=(), converter=_compiled)

    def admit(self, host: str) -> bool:
        """May this host be asked?"""
        if any(pattern.matches(host) for pattern in self.denied):
            return False
        return not self.allowed or any(pattern.matches(host) for pattern in self.allowed)


@frozen
class Opened:
    """An answer: where it came from in the end, what it says it is, and its bytes."""

    url: str
    content_type: str
    chunks: AsyncIterator[bytes]


@define(eq=False)
class WebPages:
    """Opens URLs. `close` when nothing is asked any more."""

    networks: Networks
    sites: Sites
    _http: GuardedHttp = field(init=False)

    def __attrs_post_init__(self) -> None:
        bounds = Bounds(_CONNECTIONS, _CONNECTIONS, SECONDS, CONNECT_SECONDS, keep_alive=False)
        self._http = GuardedHttp(self.networks, bounds, {"User-Agent": _AGENT})

    @asynccontextmanager
    async def opened(self, text: str, *, accept: str, base: str | None = None) -> AsyncIterator[Opened]:
        """The answer of this URL, which may be told in relation to `base`, or of what it redirects to.

        Raises NotRead; all happens within SECONDS.
        """
        try:
            async with asyncio.timeout(SECONDS):
                url = self._checked(text, URL(base) if base else None)
                for _ in range(MAX_REDIRECTS + 1):
                    async with self._asked(url, accept) as answer:
                        if answer.status not in _REDIRECTS:
                            yield _read(answer)
                            return
                        location = answer.headers.get("Location", "")
                    url = self._checked(location, url)
        except (aiohttp.ClientError, OSError, TimeoutError, UnicodeError) as cause:
            raise NotRead(str(cause) or type(cause).__name__) from cause
        raise NotRead("too many redirects")

    async def close(self) -> None:
        """Cut what is open."""
        await self._http.close()

    def _checked(self, text: str, base: URL | None = None) -> URL:
        try:
            url = URL(text[: MAX_URL + 1]) if base is None else base.join(URL(text[: MAX_URL + 1]))
            host, port = url.raw_host, url.port
        except ValueError as cause:
            raise NotRead("not a URL") from cause
        if len(text) > MAX_URL or url.scheme not in ("http", "https") or not host or port is None:
            raise NotAllowed("not a URL of the web")
        if url.user is not None or url.password is not None:
            raise NotAllowed("URLs with passwords are private")
        if port not in (80, 443) and port < _FIRST_FREE_PORT:
            raise NotAllowed("not a port of the web")
        if not self.sites.admit(host):
            raise NotAllowed("this server asks nothing of that site")
        return url.with_fragment(None)

    def _asked(self, url: URL, accept: str) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._http.session().get(url, headers={"Accept": accept}, allow_redirects=False)


def _read(answer: aiohttp.ClientResponse) -> Opened:
    if answer.status != 200:
        raise NotRead(f"an answer of {answer.status}")
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise NotRead("the answer is packed")
    return Opened(
        str(answer.url), answer.headers.get("Content-Type", ""), answer.content.iter_chunked(_PIECE)
    )
