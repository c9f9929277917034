"""Asks push gateways, whose URLs users choose: never within private networks, never for long, never for much."""

import asyncio
from collections.abc import Mapping
from ssl import SSLContext
from typing import Any, Protocol

import aiohttp
import orjson
from attrs import define, field

from homeserver.core.networks import Networks
from homeserver.services.guarded_http import Bounds, GuardedHttp

SECONDS, CONNECT_SECONDS = 30.0, 10.0
MAX_ANSWER = 64 * 1024
_CONNECTIONS, _PER_HOST = 100, 20
_HEADERS = {"User-Agent": "Homing"}
_JSON = {"Content-Type": "application/json"}


class GatewayFault(Exception):
    """The gateway could not be reached or did not take it; later it may."""


class GatewayRefusal(Exception):
    """The gateway will never take this: asking again is of no use."""


class Gateways(Protocol):
    """Whoever hands notifications on."""

    async def notify(self, url: str, body: Mapping[str, Any]) -> Any: ...

    async def post(self, url: str, data: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]: ...

    async def close(self) -> None: ...


@define(eq=False)
class HttpGateways:
    """Posts to gateways and web push services. `close` when nothing is asked any more."""

    networks: Networks
    tls: SSLContext | bool = True  # True: what the machine trusts
    _http: GuardedHttp = field(init=False)

    def __attrs_post_init__(self) -> None:
        bounds = Bounds(_CONNECTIONS, _PER_HOST, SECONDS, CONNECT_SECONDS)
        private = "not a public address, and not in push.allowed_networks"
        self._http = GuardedHttp(self.networks, bounds, _HEADERS, private)

    async def notify(self, url: str, body: Mapping[str, Any]) -> Any:
        """The gateway's answer as JSON. Raises GatewayFault and GatewayRefusal."""
        status, content = await self.post(url, orjson.dumps(body), _JSON)
        _judge(status)
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as cause:
            raise GatewayFault("the answer is not JSON") from cause

    async def post(self, url: str, data: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body of an answer. Raises GatewayFault and GatewayRefusal for none."""
        try:
            async with asyncio.timeout(SECONDS):
                request = self._http.session().post(
                    url, data=data, headers=headers, allow_redirects=False, ssl=self.tls
                )
                async with request as answer:
                    return answer.status, await _limited(answer)
        except PermissionError as cause:
            raise GatewayFault(str(cause)) from cause
        except aiohttp.InvalidURL as cause:
            raise GatewayRefusal("no URL") from cause
        except (aiohttp.ClientError, OSError, TimeoutError, UnicodeError) as cause:
            raise GatewayFault(str(cause) or type(cause).__name__) from cause

    async def close(self) -> None:
        """Cut what is open."""
        await self._http.close()


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
