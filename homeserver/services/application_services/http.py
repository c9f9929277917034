"""Asks application services over HTTP: at addresses of the operator's choice, but never for long and never for much.

Services of before the versioned paths are asked at the older ones when they do not know those [as "Legacy routes"].
"""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import orjson
from attrs import define, field, frozen
from yarl import URL

from homeserver.core.application_services import ApplicationService

MAX_ANSWER = 1024 * 1024
CONNECT_SECONDS = 10.0
PUSH_SECONDS = 60.0
_CONNECTIONS, _PER_HOST = 100, 20
_UNKNOWN = (404, 405, 501)  # what is answered where there is no such path
_HEADERS = {"User-Agent": "Homing", "Accept-Encoding": "identity"}


class ServiceFault(Exception):
    """The service could not be reached, or did not answer as it should; later it may."""


class ServiceSilent(ServiceFault):
    """It did not answer in time."""


class ServiceRefusal(ServiceFault):
    """It answered with another status than 200."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"an answer of {status}")
        self.status = status
        self.body = body


@frozen
class Path:
    """What is asked: below /_matrix/app/v1, and where that was before."""

    now: str
    before: str


def transaction_path(txn_id: int) -> Path:
    """Where a transaction goes."""
    return Path(f"transactions/{txn_id}", f"/transactions/{txn_id}")


def entity_path(kind: str, name: str) -> Path:
    """Where it is asked for a user or an alias."""
    return Path(f"{kind}/{quote(name, safe='')}", f"/{kind}/{quote(name, safe='')}")


def network_path(*parts: str) -> Path:
    """Where it is asked about third-party networks."""
    told = "/".join(quote(part, safe="") for part in ("thirdparty", *parts))
    return Path(told, f"/_matrix/app/unstable/{told}")


@define(eq=False)
class ServiceHttp:
    """`close` when nothing is asked any more."""

    _session: aiohttp.ClientSession | None = field(default=None, init=False)

    async def push(self, service: ApplicationService, txn_id: int, body: bytes) -> None:
        """A transaction. Raises ServiceFault."""
        await self._ask(service, "PUT", transaction_path(txn_id), body=body, seconds=PUSH_SECONDS)

    async def get(
        self, service: ApplicationService, path: Path, seconds: float, query: Mapping[str, str] | None = None
    ) -> Any:
        """What a service answers as JSON. Raises ServiceFault."""
        try:
            return orjson.loads(await self._ask(service, "GET", path, query=query, seconds=seconds))
        except orjson.JSONDecodeError as cause:
            raise ServiceFault("the answer is not JSON") from cause

    async def ping(self, service: ApplicationService, body: Mapping[str, Any], seconds: float) -> None:
        """Is it there, and does it know us? Raises ServiceFault."""
        url = f"{service.url}/_matrix/app/v1/ping"
        await self._once(service, "POST", url, body=orjson.dumps(body), seconds=seconds)

    async def ask_keys(
        self, service: ApplicationService, path: str, body: Mapping[str, Any], seconds: float
    ) -> Any:
        """What it answers to a question about keys, which is no part of the specification yet. Raises ServiceFault."""
        url = f"{service.url}/_matrix/app/unstable/{path}"
        content = await self._once(service, "POST", url, body=orjson.dumps(body), seconds=seconds)
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as cause:
            raise ServiceFault("the answer is not JSON") from cause

    async def close(self) -> None:
        """Cut what is open."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(
        self,
        service: ApplicationService,
        method: str,
        path: Path,
        *,
        seconds: float,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> bytes:
        suffix = f"?{urlencode(query)}" if query else ""
        url = f"{service.url}/_matrix/app/v1/{path.now}{suffix}"
        try:
            return await self._once(service, method, url, body=body, seconds=seconds)
        except ServiceRefusal as refusal:
            if refusal.status not in _UNKNOWN or _says_something(refusal.body):
                raise
        return await self._once(
            service, method, f"{service.url}{path.before}{suffix}", body=body, seconds=seconds
        )

    async def _once(
        self, service: ApplicationService, method: str, url: str, *, seconds: float, body: bytes | None = None
    ) -> bytes:
        headers = {"Authorization": f"Bearer {service.tokens.ours}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with (
                asyncio.timeout(seconds),
                self._http().request(
                    method, URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
                ) as answer,
            ):
                content = await _limited(answer)
                if answer.status != 200:
                    raise ServiceRefusal(answer.status, content)
                return content
        except TimeoutError as cause:
            raise ServiceSilent(f"no answer within {seconds:g} s") from cause
        except (aiohttp.ClientError, OSError, ValueError) as cause:
            raise ServiceFault(str(cause) or type(cause).__name__) from cause

    def _http(self) -> aiohttp.ClientSession:
        """Made at first use, because it belongs to the running loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=aiohttp.ThreadedResolver(), limit=_CONNECTIONS, limit_per_host=_PER_HOST
                ),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=_HEADERS,
                timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS),
                trust_env=False,
            )
        return self._session


def _says_something(body: bytes) -> bool:
    """Is it the answer of a handler, as "no such user", and not that of a router?"""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(answer, dict) and answer.get("errcode", "M_UNRECOGNIZED") != "M_UNRECOGNIZED"


async def _limited(answer: aiohttp.ClientResponse) -> bytes:
    read = bytearray()
    async for chunk in answer.content.iter_chunked(64 * 1024):
        read += chunk
        if len(read) > MAX_ANSWER:
            raise ServiceFault("the answer is too long")
    return bytes(read)
