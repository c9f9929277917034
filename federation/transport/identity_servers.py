"""Requests to identity servers: https to a host that the operator trusts, on the same guarded road as to servers."""

import asyncio
import re
from collections.abc import Collection, Mapping
from typing import Any

import aiohttp
import orjson
import structlog
from attrs import evolve, frozen
from yarl import URL

from federation.protocol import x_matrix
from federation.protocol.x_matrix import SignedRequest
from federation.transport.answers import UnusableAnswer, read_bytes
from federation.transport.connect import Exchange, Order, Outside
from federation.transport.name_servers import LookupFailed, NameServers
from federation.transport.web_addresses import HTTPS, NoWebAddress, web_address
from homeserver.core import canonical_json
from homeserver.core.errors import MatrixError
from homeserver.core.event_build import Signer

log = structlog.get_logger(__name__)

MAX_BYTES = 256 * 1024
_CONNECT, _SILENCE = 5.0, 15.0
SECONDS = 30.0  # for the whole of an answer, however it trickles
_PREFIX = "/_matrix/identity/v2"
_PORT = re.compile(r":\d+$")
_FAULTS = (aiohttp.ClientError, OSError, TimeoutError, LookupFailed, NoWebAddress, UnusableAnswer, ValueError)


@frozen
class IdentityServers:
    """Asks them. A trusted name without a port stands for all ports. `port` is another one only in tests."""

    outside: Outside
    name_servers: NameServers
    signer: Signer
    trusted: Collection[str]
    port: int = HTTPS

    def trusts(self, server: str) -> bool:
        """Has the operator named it?"""
        return server in self.trusted or _PORT.sub("", server) in self.trusted

    def require_trusted(self, server: str) -> None:
        """M_SERVER_NOT_TRUSTED for all that the operator has not named."""
        if not self.trusts(server):
            raise MatrixError(
                400, "M_SERVER_NOT_TRUSTED", "This server does not work with that identity server"
            )

    async def get(self, server: str, path: str, token: str) -> dict[str, Any]:
        """Ask as a user, who has a token there. Raises what the identity server says."""
        return await self._asked(server, "GET", path, None, {"Authorization": f"Bearer {token}"})

    async def post(self, server: str, path: str, body: Mapping[str, Any], token: str) -> dict[str, Any]:
        """The same with a body."""
        return await self._asked(server, "POST", path, body, {"Authorization": f"Bearer {token}"})

    async def post_signed(self, server: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask as a server, which signs."""
        content = canonical_json.encode(dict(body))
        request = SignedRequest("POST", _PREFIX + path, self.signer.server_name, server, content)
        header = x_matrix.build(x_matrix.sign(request, self.signer.key))
        return await self._asked(server, "POST", path, body, {"Authorization": header})

    async def _asked(
        self, server: str, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        self.require_trusted(server)
        if any(not value.isascii() or not value.isprintable() for value in headers.values()):
            raise MatrixError(400, "M_INVALID_PARAM", "id_access_token is no token")
        content = None if body is None else canonical_json.encode(dict(body))
        told = {"Accept": "application/json", **headers}
        if content is not None:
            told["Content-Type"] = "application/json"
        return await self._exchanged(
            f"https://{server}{_PREFIX}{path}", Order(method, "", told, content, _CONNECT, _SILENCE)
        )

    async def is_valid(self, url: str, public_key: str) -> bool:
        """Does the URL of a key say that it is valid? [identity "GET /_matrix/identity/v2/pubkey/isvalid"]

        Who invites names the URL, so no trust is needed; the road is the guarded one. Raises M_UNKNOWN.
        """
        try:
            asked = str(URL(url).update_query(public_key=public_key))
        except ValueError:
            return False
        order = Order("GET", "", {"Accept": "application/json"}, None, _CONNECT, _SILENCE)
        return (await self._exchanged(asked, order)).get("valid") is True

    async def _exchanged(self, url: str, order: Order) -> dict[str, Any]:
        try:
            async with asyncio.timeout(SECONDS):
                address = await web_address(url, self.name_servers, self.port)
                order = evolve(order, target=address.target)
                async with self.outside.exchange(address.route, order) as exchange:
                    answer = orjson.loads(await read_bytes(exchange, MAX_BYTES))
                    return _accepted(exchange, answer)
        except _FAULTS as cause:
            log.info("an identity server cannot be asked", url=url, why=repr(cause))
            text = "The identity server cannot be reached just now"
            raise MatrixError(503, "M_UNKNOWN", text) from cause


def _accepted(exchange: Exchange, answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise ValueError("no object")
    if exchange.status == 200:
        return answer
    errcode, text = answer.get("errcode"), answer.get("error")
    told = text if isinstance(text, str) else "The identity server refused"
    status = exchange.status if 400 <= exchange.status < 500 else 503
    raise MatrixError(
        status if status != 401 else 403, errcode if isinstance(errcode, str) else "M_UNKNOWN", told[:500]
    )
