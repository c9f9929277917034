"""Asks the captcha's service whether an answer is a human's."""

import aiohttp
import orjson
import structlog

from homeserver.core.errors import MatrixError
from homeserver.services.addresses.stages import VerifyCaptcha

log = structlog.get_logger(__name__)

SECONDS = 10.0
_MOST = 64 * 1024


def captcha_check(url: str, secret: str) -> VerifyCaptcha:
    """What asks the service at `url`."""

    async def verify(response: str, address: str) -> bool:
        values = {"secret": secret, "response": response, "remoteip": address}
        limit = aiohttp.ClientTimeout(total=SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=limit, trust_env=False) as http,
                http.post(url, data=values, allow_redirects=False) as answer,
            ):
                content = await answer.content.read(_MOST)
                told = orjson.loads(content) if answer.status == 200 else {}
                return isinstance(told, dict) and told.get("success") is True
        except (orjson.JSONDecodeError, aiohttp.ClientError, OSError, TimeoutError) as cause:
            log.warning("the captcha's service cannot be asked", why=repr(cause))
            raise MatrixError(503, "M_UNKNOWN", "Captchas cannot be checked just now") from cause

    return verify
