"""What a handler receives: one request, read through accessors that raise the specified error."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar, overload

from aiohttp.web import BaseRequest

from homeserver.core import canonical_json
from homeserver.core.errors import bad_json, not_json
from homeserver.web import fields
from homeserver.web.body import stream_body
from homeserver.web.json_body import parse_object
from homeserver.web.query import Query
from homeserver.web.requester import Requester

D = TypeVar("D")

_USER_AGENT_LENGTH = 256


class Call:
    """One request on its way through the server, made by the dispatcher.

    `path` has the decoded path parameters, `client_ip` the address that rate limits and device lists go by,
    `origin` the server that signed a federation request, `raw_body` the bytes it signed.
    """

    __slots__ = (
        "_body",
        "_empty_body",
        "_query",
        "_request",
        "_requester",
        "client_ip",
        "max_body",
        "origin",
        "path",
        "raw_body",
    )

    def __init__(
        self,
        request: BaseRequest,
        path: Mapping[str, str],
        *,
        client_ip: str = "",
        max_body: int = 0,
        empty_body: bool = False,
    ) -> None:
        self._request = request
        self._requester: Requester | None = None
        self._query: Query | None = None
        self._body: dict[str, Any] | None = None
        self._empty_body = empty_body
        self.path = path
        self.client_ip = client_ip
        self.max_body = max_body
        self.origin = ""
        self.raw_body = b""

    # --- who asks

    @property
    def requester(self) -> Requester:
        """The account that asks; every endpoint but those of Auth.NONE, OPTIONAL and SERVER has one."""
        if self._requester is None:
            raise RuntimeError("this endpoint does not require an account")
        return self._requester

    @requester.setter
    def requester(self, requester: Requester) -> None:
        self._requester = requester

    @property
    def requester_or_none(self) -> Requester | None:
        """The account that asks, if a token was sent: for endpoints of Auth.OPTIONAL."""
        return self._requester

    # --- what is asked

    @property
    def method(self) -> str:
        return self._request.method

    @property
    def raw_target(self) -> str:
        """Path and query exactly as sent: what a federation request's signature covers."""
        return self._request.raw_path

    @property
    def query(self) -> Query:
        """The query string, read on first use."""
        if self._query is None:
            _, _, raw = self._request.raw_path.partition("?")
            self._query = Query(raw)
        return self._query

    def header(self, name: str, default: str = "") -> str:
        """A request header as text, whatever bytes it held."""
        return _as_text(self._request.headers.get(name, default))

    def headers(self, name: str) -> list[str]:
        """All headers of this name, in the order they came."""
        return [_as_text(value) for value in self._request.headers.getall(name, ())]

    @property
    def user_agent(self) -> str:
        return self.header("User-Agent")[:_USER_AGENT_LENGTH]

    # --- the body

    @property
    def body(self) -> dict[str, Any]:
        """The body as a JSON object: M_NOT_JSON if it is not JSON, M_BAD_JSON if it is no object."""
        if self._body is None:
            self._body = self._parse()
        return self._body

    def _parse(self) -> dict[str, Any]:
        if self.raw_body:
            return parse_object(self.raw_body)
        if self._empty_body:
            return {}
        raise not_json("The request needs a JSON body")

    def canonical_body(self) -> dict[str, Any]:
        """The body of whatever gets signed, events above all: no floats, integers within ±(2^53-1).

        [appendices "Canonical JSON"]
        """
        body = self.body
        try:
            canonical_json.check(body)
        except canonical_json.NotCanonical as error:
            raise bad_json(
                "The request body is not canonical JSON: no floats, integers within 53 bits"
            ) from error
        return body

    def field(self, name: str, kind: type[fields.T]) -> fields.T:
        """A required field of the body."""
        return fields.required(self.body, name, kind)

    @overload
    def optional(self, name: str, kind: type[fields.T]) -> fields.T | None: ...
    @overload
    def optional(self, name: str, kind: type[fields.T], default: D) -> fields.T | D: ...
    def optional(self, name: str, kind: type[fields.T], default: Any = None) -> Any:
        """A field of the body that may be absent or null."""
        return fields.optional(self.body, name, kind, default)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, for endpoints with `stream`; M_TOO_LARGE beyond `max_body`."""
        async for chunk in stream_body(self._request, limit=self.max_body):
            yield chunk


def _as_text(value: str) -> str:
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
