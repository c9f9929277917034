"""A server over a few endpoints that show every feature of the web layer, and a client of plain sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from attrs import define, field, frozen
from prometheus_client import CollectorRegistry

from homeserver.core.errors import MatrixError, forbidden, unknown_token
from homeserver.core.rate import Rate
from homeserver.web import fields
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.gate import Gate
from homeserver.web.health import Health
from homeserver.web.metrics import HttpMetrics
from homeserver.web.rate_limit import RateLimiter
from homeserver.web.reply import Reply, Result
from homeserver.web.requester import Requester
from homeserver.web.serve import Web
from homeserver.web.settings import WebSettings

TOKENS = {
    "alice": Requester(user_id="@alice:x", user_nid=1, device_id="A"),
    "guest": Requester(user_id="@guest:x", user_nid=2, is_guest=True),
    "admin": Requester(user_id="@admin:x", user_nid=3, is_admin=True),
}


class DatabaseGone(Exception):
    """Stands for another layer's exception that the assembly knows a meaning for."""


async def authenticate(token: str, call: Call) -> Requester:
    if token not in TOKENS:
        raise unknown_token("Unknown access token")
    return TOKENS[token]


async def authenticate_server(call: Call) -> str:
    if call.header("Authorization") != "X-Matrix remote":
        raise forbidden("Bad signature")
    return f"remote signed {len(call.raw_body)}"


@define
class Handlers:
    """Handlers, and events by which a test follows what happens inside them."""

    entered: asyncio.Event = field(factory=asyncio.Event)
    release: asyncio.Event = field(factory=asyncio.Event)
    finished: asyncio.Event = field(factory=asyncio.Event)
    cancelled: asyncio.Event = field(factory=asyncio.Event)
    problem: str | None = None

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", "/v3/account/whoami", self.whoami, auth=Auth.GUEST_OK),
            Endpoint("GET", "/v3/user_only", self.whoami),
            Endpoint("GET", "/v3/open", self.maybe, auth=Auth.OPTIONAL),
            Endpoint("GET", "/_synapse/admin/v1/users/{userId}", self.whoami, auth=Auth.ADMIN),
            Endpoint("PUT", "/_matrix/federation/v1/send/{txnId}", self.transaction, auth=Auth.SERVER),
            Endpoint("GET", "/v3/directory/room/{roomAlias}", self.path, auth=Auth.NONE),
            Endpoint("GET", "/v3/rooms/{roomId}/state/{eventType}", self.path, auth=Auth.NONE),
            Endpoint("PUT", "/v3/rooms/{roomId}/state/{eventType}/{stateKey}", self.path, auth=Auth.NONE),
            Endpoint("GET", "/v3/query", self.query, auth=Auth.NONE),
            Endpoint("POST", "/v3/echo", self.echo, auth=Auth.NONE, also=("/unstable/org.x/echo",)),
            Endpoint("POST", "/v3/event", self.event, auth=Auth.NONE),
            Endpoint("POST", "/v3/fields", self.fields, auth=Auth.NONE),
            Endpoint("POST", "/v3/logout", self.echo, auth=Auth.NONE, empty_body=True),
            Endpoint("POST", "/v3/tiny", self.echo, auth=Auth.NONE, max_body=10),
            Endpoint("POST", "/v3/limited", self.whoami, rate="message", empty_body=True),
            Endpoint("POST", "/v3/login", self.anyone, rate="login", auth=Auth.NONE, empty_body=True),
            Endpoint("GET", "/v3/sync", self.wait, auth=Auth.NONE, long_poll=True),
            Endpoint("PUT", "/v3/write", self.wait, auth=Auth.NONE, empty_body=True),
            Endpoint("GET", "/v3/bug", self.bug, auth=Auth.NONE),
            Endpoint("GET", "/v3/gone", self.gone, auth=Auth.NONE),
            Endpoint("GET", "/v3/large", self.large, auth=Auth.NONE),
            Endpoint("GET", "/v3/raw", self.raw, auth=Auth.NONE),
            Endpoint("GET", "/v3/redirect", self.redirect, auth=Auth.NONE),
            Endpoint("GET", "/v3/download", self.download, auth=Auth.NONE),
            Endpoint("GET", "/v3/broken_download", self.broken_download, auth=Auth.NONE),
            Endpoint("GET", "/v3/file", self.file, auth=Auth.NONE),
            Endpoint("GET", "/v3/broken_file", self.broken_file, auth=Auth.NONE),
            Endpoint(
                "POST", "/_matrix/media/v3/upload", self.upload, auth=Auth.NONE, stream=True, max_body=100_000
            ),
        ]

    async def ready(self) -> dict[str, str | None]:
        return {"database": self.problem}

    async def whoami(self, call: Call) -> Result:
        return {"user_id": call.requester.user_id}

    async def anyone(self, call: Call) -> Result:
        return {"ip": call.client_ip}

    async def maybe(self, call: Call) -> Result:
        requester = call.requester_or_none
        return {"user_id": requester.user_id if requester else None}

    async def transaction(self, call: Call) -> Result:
        return {"origin": call.origin, "target": call.raw_target, **call.body}

    async def path(self, call: Call) -> Result:
        return dict(call.path)

    async def query(self, call: Call) -> Result:
        return {
            "from": call.query.string("from"),
            "limit": call.query.integer("limit", 10, least=0),
            "full": call.query.boolean("full", False),
            "dir": call.query.choice("dir", ("f", "b"), "f"),
            "via": call.query.strings("via"),
        }

    async def echo(self, call: Call) -> Result:
        return call.body

    async def event(self, call: Call) -> Result:
        return call.canonical_body()

    async def fields(self, call: Call) -> Result:
        identifier = call.field("identifier", dict)
        return {
            "user": fields.required(identifier, "user", str),
            "limit": call.optional("limit", int, 5),
            "flag": call.optional("flag", bool),
            "invite": fields.strings(call.body, "invite"),
        }

    async def wait(self, call: Call) -> Result:
        self.entered.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        self.finished.set()
        return {}

    async def bug(self, call: Call) -> Result:
        raise KeyError("secret detail")

    async def gone(self, call: Call) -> Result:
        raise DatabaseGone("password=hunter2")

    async def large(self, call: Call) -> Result:
        return {"text": "x" * call.query.integer("size")}

    async def raw(self, call: Call) -> Result:
        return b'{"raw":true}'

    async def redirect(self, call: Call) -> Result:
        return Reply(
            302, {"nested": orjson.Fragment(b'{"a":1}')}, {"Location": "/there", "cache-control": "public"}
        )

    async def download(self, call: Call) -> Result:
        return Reply(200, _chunks(), content_type="application/octet-stream")

    async def broken_download(self, call: Call) -> Result:
        return Reply(200, _broken_chunks(), content_type="application/octet-stream")

    async def file(self, call: Call) -> Result:
        return Reply(200, _chunks(), {"Content-Length": "7"}, "text/plain")

    async def broken_file(self, call: Call) -> Result:
        return Reply(200, _broken_chunks(), {"Content-Length": "200000"}, "text/plain")

    async def upload(self, call: Call) -> Result:
        return {"size": sum([len(chunk) async for chunk in call.chunks()])}


async def _chunks() -> AsyncIterator[bytes]:
    yield b"one "
    yield b"two"


async def _broken_chunks() -> AsyncIterator[bytes]:
    yield b"x" * 100_000
    raise OSError("disk gone")


@frozen
class Site:
    """A running server."""

    port: int
    web: Web
    handlers: Handlers
    registry: CollectorRegistry

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def exchange(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Raw bytes out; status, headers (lower case) and body back."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            return await read_answer(reader, head_only=request.startswith(b"HEAD"))
        finally:
            writer.close()

    async def get(self, target: str, *headers: str) -> tuple[int, dict[str, str], Any]:
        """A GET whose target is sent exactly as given; the body parsed."""
        lines = "".join(f"{line}\r\n" for line in ("Host: x", "Connection: close", *headers))
        status, answer_headers, body = await self.exchange(f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode())
        return status, answer_headers, orjson.loads(body)


async def read_answer(
    reader: asyncio.StreamReader, *, head_only: bool = False
) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    status_line, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = b"" if head_only else await reader.readexactly(int(headers.get("content-length", "0")))
    return int(status_line.split()[1]), headers, body


@asynccontextmanager
async def running_site(
    *, settings: WebSettings | None = None, rates: dict[str, Rate] | None = None
) -> AsyncIterator[Site]:
    handlers, registry = Handlers(), CollectorRegistry()
    usual = {"message": Rate(1, 2), "login": Rate(1, 2)}
    web = Web(
        [*handlers.endpoints(), *Health(handlers.ready, registry).endpoints()],
        Gate(authenticate, authenticate_server),
        limiter=RateLimiter(usual if rates is None else rates),
        metrics=HttpMetrics(registry),
        settings=settings or WebSettings(stop_timeout=1),
        faults={
            DatabaseGone: MatrixError(503, "M_UNKNOWN", "The database is away", {"retry_after_ms": 1000})
        },
    )
    port = await web.listen("127.0.0.1", 0)
    try:
        yield Site(port, web, handlers, registry)
    finally:
        handlers.release.set()
        await web.stop()
