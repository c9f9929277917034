"""A server that lets its rooms be read: real database, real HTTP; those who ask only say who they are."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
from attrs import frozen
from prometheus_client import CollectorRegistry

from federation.inbound.backfill import BackfillApi
from federation.inbound.events import EventsApi
from federation.inbound.state import StateApi
from homeserver.core.canonical_json import encode_lenient
from homeserver.core.event import Event
from homeserver.core.hashing import event_id_of
from homeserver.core.receipt_checks import Accepted
from homeserver.core.room_versions import RoomVersion
from homeserver.services.arrivals import Arrivals
from homeserver.services.judging import Arrival
from homeserver.services.room_export import RoomExport
from homeserver.services.room_states import RoomStates
from homeserver.services.server_acls import ServerACLs
from homeserver.services.server_visibility import ServerAccess
from homeserver.web.call import Call
from homeserver.web.gate import Gate
from homeserver.web.metrics import HttpMetrics
from homeserver.web.rate_limit import RateLimiter
from homeserver.web.requester import Requester
from homeserver.web.serve import Web
from homeserver.web.settings import WebSettings
from storage.database import Database
from tests.kit.room_builder import RoomBuilder
from tests.kit.services import SERVER, Kit, build_kit

BASE = "/_matrix/federation/v1"


@frozen
class Library:
    """The server, what it knows, and how it is asked."""

    kit: Kit
    arrivals: Arrivals
    access: ServerAccess
    export: RoomExport
    http: aiohttp.ClientSession

    async def take(self, event: Event) -> object:
        """An event of another server arrives; its verdict."""
        arrival = Arrival(event, encode_lenient(event.pdu))
        if event.type == "m.room.create":
            await self.arrivals.begin(arrival)
            return Accepted()
        return await self.arrivals.receive(arrival)

    async def take_all(self, room: RoomBuilder, *, without: Iterable[Event] = ()) -> None:
        """Every event of the room is accepted."""
        left_out = {event.event_id for event in without}
        for event in room.events.values():
            if event.event_id not in left_out:
                assert await self.take(event) == Accepted(), event

    async def ask(self, origin: str, path: str, body: Any = None, **query: Any) -> tuple[int, Any]:
        """Status and JSON of what `origin` is told; POST where there is a body."""
        method = "GET" if body is None else "POST"
        data = None if body is None else orjson.dumps(body)
        headers = {"X-Origin": origin}
        async with self.http.request(method, BASE + path, params=query, data=data, headers=headers) as answer:
            return answer.status, orjson.loads(await answer.read())

    async def get(self, origin: str, path: str, body: Any = None, **query: Any) -> Any:
        """The JSON of what must not be refused."""
        status, said = await self.ask(origin, path, body, **query)
        assert status == 200, said
        return said

    async def refused(self, origin: str, path: str, body: Any = None, **query: Any) -> tuple[int, str]:
        """Status and code of a refusal."""
        status, said = await self.ask(origin, path, body, **query)
        assert status >= 400, said
        return status, said["errcode"]


def ids(pdus: Iterable[dict[str, Any]], version: RoomVersion) -> list[str]:
    """The ids of events as they travel."""
    return [event_id_of(pdu, version) for pdu in pdus]


def at(room: RoomBuilder) -> str:
    """The room's id as a part of a path."""
    return quote(room.room_id, safe="")


@asynccontextmanager
async def open_library(database: Database) -> AsyncIterator[Library]:
    kit = build_kit(database)
    access = ServerAccess(kit.reader, kit.state_keys, ServerACLs(kit.reader))
    export = RoomExport(database, kit.reader)
    endpoints = [
        *EventsApi(database, access, export, SERVER).endpoints(),
        *StateApi(database, access, export).endpoints(),
        *BackfillApi(database, access, export, SERVER).endpoints(),
    ]
    web = Web(
        endpoints,
        Gate(_nobody, _whoever_says_so),
        limiter=RateLimiter({}),
        metrics=HttpMetrics(CollectorRegistry()),
        settings=WebSettings(stop_timeout=1),
        faults={},
    )
    port = await web.listen("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            arrivals = Arrivals(kit.timeline, RoomStates(kit.reader, kit.state_keys))
            yield Library(kit, arrivals, access, export, http)
    finally:
        await web.stop()
        await kit.committer.drain()


async def _nobody(token: str, call: Call) -> Requester:
    raise AssertionError("no client asks here")


async def _whoever_says_so(call: Call) -> str:
    return call.header("X-Origin")
