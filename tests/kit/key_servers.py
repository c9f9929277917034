"""Servers that publish keys, as they behave when we ask for them, and a key ring that asks them."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from attrs import define, field, frozen
from signedjson.key import generate_signing_key, get_verify_key

from federation.keyring import KeyRing, OwnKeys, own_keys
from federation.keys.lookups import KeyLookups
from federation.keys.notaries import KeyNotaries
from federation.keys.records import KeyRecords
from federation.protocol.key_responses import RetiredKey, countersign, key_id, publish
from federation.transport.requests import PeerUnreachable
from homeserver.core import canonical_json
from storage.database import Database

NOW = 1_800_000_000_000
SECOND = 1000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
OUR_NAME = "us.example"


@define
class FakeClock:
    """Time that passes when it is told to."""

    now: int = NOW

    def __call__(self) -> int:
        return self.now

    def go(self, milliseconds: int) -> None:
        self.now += milliseconds


@define(eq=False)
class KeyServer:
    """A server that publishes its keys; `answer` replaces what it says, an exception is raised."""

    name: str
    clock: FakeClock
    key: Any = None
    retired: list[RetiredKey] = field(factory=list)
    up: bool = True
    answer: Callable[[dict[str, Any]], Any] | None = None

    def __attrs_post_init__(self) -> None:
        self.key = self.key or generate_signing_key("a_1")

    @property
    def key_name(self) -> tuple[str, str]:
        return self.name, key_id(get_verify_key(self.key))

    def rotate(self, version: str) -> None:
        """What `homeserver keys rotate` does."""
        self.retired.append(RetiredKey(get_verify_key(self.key), self.clock()))
        self.key = generate_signing_key(version)

    def says(self) -> bytes:
        said = publish(self.name, self.key, self.retired, self.clock())
        changed = said if self.answer is None else self.answer(said)
        return changed if isinstance(changed, bytes) else canonical_json.encode_lenient(changed)


@define(eq=False)
class KeyNet:
    """All servers there are, and how often each was asked. While `gate` is closed nobody answers."""

    clock: FakeClock = field(factory=FakeClock)
    servers: dict[str, KeyServer] = field(factory=dict)
    asked: Counter[str] = field(factory=Counter)
    queries: list[tuple[str, Any]] = field(factory=list)
    gate: asyncio.Event = field(factory=asyncio.Event)
    _heard: asyncio.Event = field(factory=asyncio.Event)

    def __attrs_post_init__(self) -> None:
        self.gate.set()

    def add(self, name: str, **more: Any) -> KeyServer:
        self.servers[name] = KeyServer(name, self.clock, **more)
        return self.servers[name]

    async def until_asked(self, count: int = 1) -> None:
        """Wait until so many questions have come."""
        while self.asked.total() < count:
            self._heard.clear()
            await self._heard.wait()

    async def keys_of(self, name: str) -> bytes:
        self.asked[name] += 1
        self._heard.set()
        await self.gate.wait()
        server = self.servers.get(name)
        if server is None or not server.up:
            raise PeerUnreachable(name, "no route")
        return server.says()

    async def query(self, notary: str, wanted: Mapping[str, Mapping[str, int]]) -> bytes:
        """A notary knows every server, also those that are down."""
        self.queries.append((notary, wanted))
        await self.gate.wait()
        server = self.servers.get(notary)
        if server is None or not server.up:
            raise PeerUnreachable(notary, "no route")
        known = [orjson.loads(self.servers[name].says()) for name in wanted if name in self.servers]
        return canonical_json.encode(
            {"server_keys": [countersign(said, notary, server.key) for said in known]}
        )

    def ring(
        self, database: Database, *, notaries: tuple[str, ...] = (), own: OwnKeys | None = None
    ) -> KeyRing:
        """The key ring of one process of ours."""
        return make_ring(Sources(self.keys_of, self.query, notaries), database, self.clock, own)


@frozen
class Sources:
    """Whom a key ring asks."""

    keys_of: Callable[[str], Any]
    query: Callable[[str, Any], Any]
    notaries: tuple[str, ...] = ()


def make_ring(sources: Sources, database: Database, clock: FakeClock, own: OwnKeys | None = None) -> KeyRing:
    records = KeyRecords(database, clock=clock)
    lookups = KeyLookups(sources.keys_of, records, clock)
    notaries = KeyNotaries(sources.notaries, sources.query, lookups, records, clock)
    own = own or own_keys(OUR_NAME, generate_signing_key("own"), [])
    return KeyRing(own, records, lookups, notaries, clock)
