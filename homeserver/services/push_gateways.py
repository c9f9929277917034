"""Asks push gateways, whose URLs users choose: never within private networks, never for long, never for much."""

import asyncio
import errno
import socket
from collections.abc import Mapping
from typing import Any, Protocol

import aiohttp
import orjson
from attrs import define, field

from homeserver.core.networks import Networks

SECONDS, CONNECT_SECONDS = 30.0, 10.0
MAX_ANSWER = 64 * 1024
_CONNECTIONS, _PER_HOST = 100, 20


class GatewayFault(Exception):
    """The gateway could not be reached or did not take it; later it may."""


class GatewayRefusal(Exception):
    """The gateway will never take this: asking again is of no use."""


class Gateways(Protocol):
    """Whoever hands notifications on."""

    async def notify(self, url: str, body: Mapping[str, Any]) -> Any: ...

    async def close(self) -> None: ...


@define(eq=False)
class HttpGateways:
    """Posts to gateways. `close` when nothing is asked any more."""

    networks: Networks
    _session: aiohttp.ClientSession | None = field(default=None, init=False)

    async def notify(self, url: str, body: Mapping[str, Any]) -> Any:
        """The gateway's answer as JSON. Raises GatewayFault and GatewayRefusal."""
        try:
            async with asyncio.timeout(SECONDS):
                async with self._http().post(url, data=orjson.dumps(body), allow_redirects=False) as answer:
                    _judge(answer.status)
                    return orjson.loads(await _limited(answer))
        except orjson.JSONDecodeError as cause:
            raise GatewayFault("the answer is not JSON") from cause
        except PermissionError as cause:
            raise GatewayFault(str(cause)) from cause
        except aiohttp.InvalidURL as cause:
            raise GatewayRefusal("no URL") from cause
        except (aiohttp.ClientError, OSError, TimeoutError, UnicodeError) as cause:
            raise GatewayFault(str(cause) or type(cause).__name__) from cause

    async def close(self) -> None:
        """Cut what is open."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _http(self) -> aiohttp.ClientSession:
        """Made at first use, because it belongs to the running loop."""
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=aiohttp.ThreadedResolver(),
                limit=_CONNECTIONS,
                limit_per_host=_PER_HOST,
                socket_factory=self._socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={
                    "User-Agent": "Homing",
                    "Content-Type": "application/json",
                    "Accept-Encoding": "identity",
                },
                timeout=aiohttp.ClientTimeout(total=SECONDS, connect=CONNECT_SECONDS),
                trust_env=False,
            )
        return self._session

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """A socket for an address, if it may be connected to."""
        family, kind, protocol, _, address = info
        if not self.networks.admit(str(address[0])):
            raise PermissionError(
                errno.EACCES, f"{address[0]} is not a public address, and not in push.allowed_networks"
            )
        made = socket.socket(family=family, type=kind, proto=protocol)
        made.setblocking(False)
        return made


def _judge(status: int) -> None:
    if 200 <= status < 300:
        return
    if 400 <= status < 500 and status not in (401, 403, 404, 408, 425, 429):
        raise GatewayRefusal(f"an answer of {status}")
    raise GatewayFault(f"an answer of {status}")


async def _limited(answer: aiohttp.ClientResponse) -> bytes:
    read = await answer.content.read(MAX_ANSWER + 1)
    while len(read) <= MAX_ANSWER and not answer.content.at_eof():
        more = await answer.content.read(MAX_ANSWER + 1 - len(read))
        if not more:
            break
        read += more
    if len(read) > MAX_ANSWER:
        raise GatewayFault("the answer is too long")
    return read
