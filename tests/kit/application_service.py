"""A small application service that the server talks to, and registrations of such ones."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import yaml
from aiohttp import web
from attrs import define, field

from homeserver.app import config as options
from tests.kit.server import Client, RunningServer

Answering = Callable[[web.Request, Any], Awaitable[web.StreamResponse]]
SECONDS = 20.0


def registration_of(
    name: str,
    *,
    users: Iterable[str] = (),
    aliases: Iterable[str] = (),
    rooms: Iterable[str] = (),
    url: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What its registration file holds; all namespaces are its own alone."""
    namespaces = {"users": users, "aliases": aliases, "rooms": rooms}
    return {
        "id": name,
        "url": url,
        "as_token": f"as_token_of_{name}",
        "hs_token": f"hs_token_of_{name}",
        "sender_localpart": f"{name}_sender",
        "namespaces": {
            kind: [{"exclusive": True, "regex": regex} for regex in regexes]
            for kind, regexes in namespaces.items()
        },
        **more,
    }


def registered(folder: Path, *registrations: dict[str, Any], **more: Any) -> options.ApplicationServices:
    """The section of a configuration that names these, written to files."""
    for registration in registrations:
        (folder / f"{registration['id']}.yaml").write_text(yaml.safe_dump(registration))
    return options.ApplicationServices(files=[f"{one['id']}.yaml" for one in registrations], **more)


@define(eq=False)
class Service:
    """Takes what it is pushed, or answers as a test wants it to."""

    name: str
    url: str = ""
    answer: Answering | None = None  # to everything
    transactions: list[tuple[str, dict[str, Any]]] = field(factory=list)  # those taken, in order
    asked: list[tuple[str, str]] = field(factory=list)  # (method, path with query), all
    tokens: set[str] = field(factory=set)
    _changed: asyncio.Condition = field(factory=asyncio.Condition)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.tokens.add(request.headers.get("Authorization", ""))
        self.asked.append((request.method, request.path_qs))
        told = orjson.loads(body) if body else None
        answer = await self.answer(request, told) if self.answer else web.json_response({})
        if answer.status == 200 and "/transactions/" in request.path:
            self.transactions.append((request.path.rpartition("/")[2], told))
        async with self._changed:
            self._changed.notify_all()
        return answer

    async def until(self, holds: Callable[[], Any]) -> Any:
        """Wait until that holds of what has come; gives it."""
        async with asyncio.timeout(SECONDS), self._changed:
            while not (found := holds()):
                await self._changed.wait()
        return found

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events in order, each as often as it was taken under another id."""
        seen = dict(self.transactions)  # a repeated id says the same
        return [event for told in seen.values() for event in told["events"]]

    async def event(self, event_id: str) -> dict[str, Any]:
        """The event of that id, once it has come."""
        return await self.until(
            lambda: next((event for event in self.events if event["event_id"] == event_id), None)
        )

    def client(self, server: RunningServer) -> Client:
        """The service as a client of the server."""
        return Client(
            server.url, server.http, f"@{self.name}_sender:localhost", "", f"as_token_of_{self.name}"
        )


@asynccontextmanager
async def listening(name: str, port: int = 0) -> AsyncIterator[Service]:
    """A service on a port of this machine."""
    service = Service(name)
    runner = web.ServerRunner(web.Server(service.handle), shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    assert runner.addresses
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
    finally:
        await runner.cleanup()
