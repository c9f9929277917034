"""Connections to whatever users or the web name: never within private networks, without cookies, unpacked.

Each socket is refused if its address is not admitted, whatever names led there. What is asked, how long that may take
and how much is read of the answer is the caller's concern, within the limits here.
"""

import errno
import socket
from collections.abc import Mapping

import aiohttp
from attrs import define, field, frozen

from homeserver.core.networks import Networks


@frozen
class Bounds:
    """How much at a time (connections, also to one host) and how long (seconds)."""

    connections: int
    per_host: int
    seconds: float
    connect_seconds: float
    keep_alive: bool = True


@define(eq=False)
class GuardedHttp:
    """Makes one pooled session at its first use, because that belongs to the running loop."""

    networks: Networks
    bounds: Bounds
    headers: Mapping[str, str]
    private: str = "not a public address"  # what is said of an address that is not admitted
    _session: aiohttp.ClientSession | None = field(default=None, init=False)

    def session(self) -> aiohttp.ClientSession:
        """What asks. Raises nothing; a refused address is a PermissionError of the request."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._connector(),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity", **self.headers},
                timeout=aiohttp.ClientTimeout(total=self.bounds.seconds, connect=self.bounds.connect_seconds),
                trust_env=False,
            )
        return self._session

    async def close(self) -> None:
        """Cut what is open."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(
            resolver=aiohttp.ThreadedResolver(),
            use_dns_cache=self.bounds.keep_alive,
            limit=self.bounds.connections,
            limit_per_host=self.bounds.per_host,
            force_close=not self.bounds.keep_alive,
            socket_factory=self._socket,
        )

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        return admitted_socket(info, self.networks, self.private)


def admitted_socket(info: aiohttp.AddrInfoType, networks: Networks, private: str) -> socket.socket:
    """A socket for an address, if it may be connected to; `private` is what is said of one that may not."""
    family, kind, protocol, _, address = info
    if not networks.admit(str(address[0])):
        raise PermissionError(errno.EACCES, f"{address[0]} is {private}")
    made = socket.socket(family=family, type=kind, proto=protocol)
    made.setblocking(False)
    return made
