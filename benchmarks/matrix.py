"""What a person does with a Matrix client, in as few bytes and as little work as it takes."""

import asyncio
import itertools
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

import orjson
from attrs import field, frozen

from benchmarks.connection import Address, Connection, RequestFailed

# The newest that both servers offer, and the default of both.
ROOM_VERSION = "12"
REGISTER_AT_ONCE = 4
TEXT = "The quick brown fox jumps over the lazy dog, again and again and again."

_numbers = itertools.count(1)


@frozen
class Account:
    """A registered user with a device."""

    user_id: str
    token: str


@frozen
class Client:
    """An account at a connection of its own."""

    account: Account
    connection: Connection
    transactions: Iterator[int] = field(factory=itertools.count)

    async def call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> bytes:
        """One request; anything but success ends the benchmark."""
        content = b"" if method == "GET" else orjson.dumps(body or {})
        return await self.request(method, f"/_matrix/client/v3{path}", content)

    async def request(
        self, method: str, target: str, content: bytes = b"", *, content_type: str = "application/json"
    ) -> bytes:
        """One request at any path; anything but success ends the benchmark."""
        answer = await self.connection.request(
            method, target, token=self.account.token, body=content, content_type=content_type
        )
        if answer.status != 200:
            raise RequestFailed(f"{method} {target}: {answer.status} {answer.body[:500]!r}")
        return answer.body

    async def create_room(self, **options: object) -> str:
        body = {"room_version": ROOM_VERSION, "preset": "private_chat", **options}
        return str(orjson.loads(await self.call("POST", "/createRoom", body))["room_id"])

    async def join(self, room_id: str) -> None:
        await self.call("POST", f"/join/{quote(room_id)}")

    async def send(self, room_id: str, text: str = TEXT) -> None:
        path = f"/rooms/{quote(room_id)}/send/m.room.message/{next(self.transactions)}"
        await self.call("PUT", path, {"msgtype": "m.text", "body": text})

    async def set_state(self, room_id: str, state_key: str, content: Mapping[str, object]) -> None:
        path = f"/rooms/{quote(room_id)}/state/com.example.benchmark/{quote(state_key)}"
        await self.call("PUT", path, content)

    async def sync(self, query: str) -> bytes:
        return await self.call("GET", f"/sync?{query}")

    async def upload_filter(self, definition: Mapping[str, object]) -> str:
        path = f"/user/{quote(self.account.user_id)}/filter"
        return str(orjson.loads(await self.call("POST", path, definition))["filter_id"])


async def register(address: Address, count: int) -> list[Account]:
    """New accounts, several at once: registering is not what is measured."""
    names = iter([f"user{next(_numbers)}" for _ in range(count)])
    groups = await asyncio.gather(*(_register_each(address, names) for _ in range(REGISTER_AT_ONCE)))
    return [account for group in groups for account in group]


async def register_clients(address: Address, count: int) -> list[Client]:
    """New accounts, each at a connection of its own."""
    return [Client(account, Connection(address)) for account in await register(address, count)]


async def log_in(address: Address, client: Client) -> Client:
    """The same user with one more device."""
    name = client.account.user_id[1:].partition(":")[0]
    identifier = {"type": "m.id.user", "user": name}
    body = {"type": "m.login.password", "identifier": identifier, "password": _password(name)}
    said = orjson.loads(await client.call("POST", "/login", body))
    return Client(Account(said["user_id"], said["access_token"]), Connection(address))


async def room_of(clients: Sequence[Client]) -> str:
    """A public room of the first client's that all of them are in."""
    creator, *others = clients
    room_id = await creator.create_room(preset="public_chat", name="Benchmark")
    for client in others:
        await client.join(room_id)
    return room_id


async def _register_each(address: Address, names: Iterator[str]) -> list[Account]:
    connection = Connection(address)
    try:
        return [await _register(connection, name) for name in names]
    finally:
        connection.close()


async def _register(connection: Connection, name: str) -> Account:
    auth = {"type": "m.login.dummy"}
    body = orjson.dumps({"username": name, "password": _password(name), "auth": auth})
    answer = await connection.request("POST", "/_matrix/client/v3/register", body=body)
    if answer.status != 200:
        raise RequestFailed(f"register: {answer.status} {answer.body[:500]!r}")
    said = orjson.loads(answer.body)
    return Account(user_id=said["user_id"], token=said["access_token"])


def _password(name: str) -> str:
    return f"benchmark-{name}"
