"""A real server in this process, on a port and a database of its own, and a small client that speaks to it."""

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
from attrs import define, evolve

from homeserver.app import config as options
from homeserver.app.assemble import assemble
from homeserver.app.config import Config
from homeserver.web.endpoint import Endpoint
from storage.database import Database
from tests.kit.answers import mismatches

SERVER_NAME = "localhost"
PASSWORD = "correct horse battery"
_names = itertools.count(1)


def plain_config(folder: Path, **sections: Any) -> Config:
    """Open registration, cheap passwords, no rate limits; `sections` replaces whole sections."""
    plain = Config(
        server=options.Server(name=SERVER_NAME, listen="127.0.0.1:0", data=str(folder)),
        registration=options.Registration(open=True, guests=True),
        passwords=options.Passwords(argon2_memory_kib=8, argon2_passes=1),
        rate_limits=options.RateLimits(enabled=False),
    )
    return evolve(plain, **sections)


@define
class Answer:
    """What the server said."""

    status: int
    headers: Any
    content: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.content)

    @property
    def errcode(self) -> str | None:
        return self.json.get("errcode")


@define(eq=False)
class Client:
    """One user's device, or nobody's."""

    url: str
    http: aiohttp.ClientSession
    user_id: str = ""
    device_id: str = ""
    token: str | None = None

    async def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Answer:
        """One request, whatever comes of it. Paths begin with /v3/… (below /_matrix/client) or are full ones."""
        if path.startswith(("/v", "/r0", "/unstable")):
            path = "/_matrix/client" + path
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        given = {name: str(value) for name, value in query.items() if value is not None}
        async with self.http.request(
            method, self.url + path, params=given, data=data, headers=headers
        ) as response:
            answer = Answer(response.status, response.headers, await response.read())
        # Else the client wants less than the schema, or something else than it [MSC4140].
        complete = "event_fields" not in given.get("filter", "") and "org.matrix.msc4140.delay" not in given
        wrong = mismatches(method, path, answer.status, answer.content) if complete else []
        assert not wrong, wrong
        return answer

    async def do(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """A request that must succeed; gives the JSON."""
        answer = await self.ask(method, path, body, **query)
        assert answer.status == 200, f"{method} {path}: {answer.status} {answer.content!r}"
        return answer.json

    async def refused(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, str | None]:
        """A request that must fail; gives the status and the errcode."""
        answer = await self.ask(method, path, body, **query)
        assert answer.status >= 400, f"{method} {path}: {answer.status} {answer.content!r}"
        return answer.status, answer.errcode

    async def get(self, path: str, **query: Any) -> Any:
        return await self.do("GET", path, None, **query)

    async def post(self, path: str, body: Any = None, **query: Any) -> Any:
        return await self.do("POST", path, {} if body is None else body, **query)

    async def put(self, path: str, body: Any = None, **query: Any) -> Any:
        return await self.do("PUT", path, {} if body is None else body, **query)

    async def delete(self, path: str, body: Any = None, **query: Any) -> Any:
        return await self.do("DELETE", path, body, **query)


@define(eq=False)
class RunningServer:
    """A server to test against."""

    url: str
    config: Config
    database: Database
    http: aiohttp.ClientSession
    endpoints: Sequence[Endpoint] = ()

    def anonymous(self) -> Client:
        """A client without a token."""
        return Client(self.url, self.http)

    def with_token(self, answer: Any) -> Client:
        """The client that an answer of /register or /login makes."""
        return Client(self.url, self.http, answer["user_id"], answer["device_id"], answer["access_token"])

    async def register(self, name: str | None = None, **more: Any) -> Client:
        """A new user."""
        body = {
            "username": name or f"user{next(_names)}",
            "password": PASSWORD,
            "auth": {"type": "m.login.dummy"},
            **more,
        }
        return self.with_token(await self.anonymous().post("/v3/register", body))

    async def login(self, user_id: str, password: str = PASSWORD, **more: Any) -> Client:
        """A further device of a user."""
        identifier = {"type": "m.id.user", "user": user_id}
        body = {"type": "m.login.password", "identifier": identifier, "password": password, **more}
        return self.with_token(await self.anonymous().post("/v3/login", body))


@asynccontextmanager
async def running(database_url: str, config: Config) -> AsyncIterator[RunningServer]:
    """Start a server, and stop it in order."""
    database = Database(url=database_url)
    await database.connect()
    try:
        server = await assemble(config, database)
        port = await server.start()
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
                yield RunningServer(f"http://127.0.0.1:{port}", config, database, http, server.web.endpoints)
        finally:
            await server.stop()
    finally:
        await database.close()


def segment(text: str) -> str:
    """`text` as one segment of a path."""
    return quote(text, safe="")
