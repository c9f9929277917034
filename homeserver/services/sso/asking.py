"""Requests to login services, which the operator has named: limited in time and size, no redirects, no cookies."""

from collections.abc import Mapping

import aiohttp
import structlog
from attrs import frozen

from homeserver.services.sso.providers import unusable

log = structlog.get_logger(__name__)

SECONDS = 10.0
MAX_ANSWER = 256 * 1024


@frozen
class Asked:
    """A request to a login service."""

    method: str
    url: str
    headers: Mapping[str, str] = {}
    form: Mapping[str, str] | None = None


async def ask(asked: Asked) -> bytes:
    """The answer. Raises M_UNKNOWN where there is none, or one of no good status."""
    limit = aiohttp.ClientTimeout(total=SECONDS)
    try:
        async with (
            aiohttp.ClientSession(
                timeout=limit, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
            ) as http,
            http.request(
                asked.method, asked.url, headers=asked.headers, data=asked.form, allow_redirects=False
            ) as answer,
        ):
            content = bytearray()
            async for chunk in answer.content.iter_chunked(65_536):
                content += chunk
                if len(content) > MAX_ANSWER:
                    raise ValueError("the answer is too long")
            if answer.status != 200:
                raise ValueError(f"an answer of {answer.status}")
            return bytes(content)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as cause:
        log.warning("a login service cannot be asked", url=asked.url.partition("?")[0], why=repr(cause))
        raise unusable() from cause
