"""A sender on a real database, and a world of other servers that can be down, slow or contrary."""

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import orjson
from attrs import define, evolve, field, frozen
from signedjson.key import generate_signing_key

from federation.backoff import Destinations
from federation.peers import Peers
from federation.transport.answers import Refusal
from federation.transport.requests import PeerRefused, PeerUnreachable
from homeserver.app.foundation import Foundation, lay_foundation
from homeserver.app.sender_parts import SenderParts, sender_parts
from homeserver.core.backoff import Backoff
from homeserver.core.event_build import Draft, Signer
from homeserver.core.room_versions import V12, RoomVersion
from storage.database import Database
from storage.events import StoredEvent
from storage.rooms import Room
from tests.kit.services import ALICE, SERVER, founding

PATIENCE = 20.0
_rooms = itertools.count(1)


@frozen
class Taken:
    """A transaction as a server has taken it."""

    txn_id: str
    events: tuple[str, ...]  # what is in their bodies, or the membership that they change
    edus: tuple[Any, ...]
    pdus: tuple[Any, ...] = field(repr=False)


@define(eq=False)
class World:
    """All other servers. Each takes a transaction once, as the specification demands."""

    destinations: Destinations
    down: set[str] = field(factory=set)
    mute: set[str] = field(factory=set)  # they take what comes, and the answer is lost
    stuck: set[str] = field(factory=set)  # they never answer
    refusing: dict[str, int] = field(factory=dict)
    luck: random.Random | None = None  # one in three attempts fails, half of these after it has arrived
    taken: dict[str, dict[str, Taken]] = field(factory=lambda: defaultdict(dict))
    tries: list[tuple[str, str, str]] = field(factory=list)
    in_flight: int = 0
    _moved: asyncio.Event = field(factory=asyncio.Event)

    async def send(self, destination: str, txn_id: str, body: bytes) -> Mapping[str, Mapping[str, Any]]:
        self.tries.append((destination, txn_id, sha256(body).hexdigest()))
        self.in_flight += 1
        try:
            await asyncio.sleep(0)
            return await self._send(destination, txn_id, body)
        finally:
            self.in_flight -= 1
            self._moved.set()

    async def _send(self, destination: str, txn_id: str, body: bytes) -> Mapping[str, Mapping[str, Any]]:
        if destination in self.stuck:
            self._moved.set()
            await asyncio.Event().wait()
        if destination in self.down:
            self.destinations.failed(destination, "no route")
            raise PeerUnreachable(destination, "no route")
        if destination in self.refusing:
            self.destinations.answered(destination)
            raise PeerRefused(destination, Refusal(self.refusing[destination], "M_UNKNOWN", "no"))
        luck = self.luck.random() if self.luck is not None else 1.0
        if luck < 1 / 6:
            self.destinations.failed(destination, "no route")
            raise PeerUnreachable(destination, "no route")
        self.taken[destination].setdefault(txn_id, taken(txn_id, body))
        if destination in self.mute or luck < 1 / 3:
            self.destinations.failed(destination, "no answer in time")
            raise PeerUnreachable(destination, "no answer in time")
        self.destinations.answered(destination)
        return {}

    def events(self, server: str) -> list[str]:
        """What a server has got, in its order."""
        return [event for one in self.taken[server].values() for event in one.events]

    def edus(self, server: str, kind: str) -> list[Any]:
        """The contents of what a server has got of a kind."""
        told = [edu for one in self.taken[server].values() for edu in one.edus]
        return [edu["content"] for edu in told if edu["edu_type"] == kind]

    async def until(self, so: Callable[[], bool]) -> None:
        """Wait until something is so, looking whenever something was sent."""
        async with asyncio.timeout(PATIENCE):
            while not so():
                self._moved.clear()
                await self._moved.wait()


async def eventually(so: Callable[[], bool]) -> None:
    """Wait for what nobody announces."""
    async with asyncio.timeout(PATIENCE):
        while not so():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def taken(txn_id: str, body: bytes) -> Taken:
    said = orjson.loads(body)
    assert said["origin"] == SERVER
    assert len(said["pdus"]) <= 50
    assert len(said["edus"]) <= 100
    return Taken(txn_id, tuple(map(gist, said["pdus"])), tuple(said["edus"]), tuple(said["pdus"]))


def gist(pdu: Mapping[str, Any]) -> str:
    if pdu["type"] == "m.room.member":
        return f"{pdu['state_key']} {pdu['content']['membership']}"
    return str(pdu["content"].get("body", pdu["type"]))


@define(eq=False)
class Running:
    """One run of a server that sends."""

    foundation: Foundation
    world: World
    parts: SenderParts
    task: "asyncio.Task[None]"

    async def room(self, *peers: str, version: RoomVersion = V12) -> Room:
        """A room that Alice has made, with a user of each of these servers in it."""
        drafts = founding(version, room_id=f"!room{next(_rooms)}:{SERVER}")
        drafts[0] = evolve(drafts[0], origin_server_ts=drafts[0].origin_server_ts + next(_rooms))
        room, _ = await self.foundation.timeline.create(version, drafts)
        for peer in peers:
            await self.member(room, f"@them:{peer}", "join")
        return room

    async def say(self, room: Room, text: str, sender: str = ALICE) -> StoredEvent:
        content = {"msgtype": "m.text", "body": text}
        return await self._send(Draft("m.room.message", sender, content, 1_700_000_000_000, room.room_id))

    async def member(self, room: Room, user: str, membership: str, by: str | None = None) -> StoredEvent:
        content = {"membership": membership}
        return await self._send(
            Draft("m.room.member", by or user, content, 1_700_000_000_000, room.room_id, user)
        )

    async def state(self, room: Room, kind: str, content: Mapping[str, Any]) -> StoredEvent:
        return await self._send(Draft(kind, ALICE, content, 1_700_000_000_000, room.room_id, ""))

    async def _send(self, draft: Draft) -> StoredEvent:
        return await self.foundation.timeline.send(draft)

    async def followed(self, position: int | None) -> None:
        """Until the sender has seen everything up to a position."""
        assert position is not None
        await eventually(lambda: self.parts.sender.position >= position)

    async def stop(self) -> None:
        """End in order."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.foundation.committer.drain()


@asynccontextmanager
async def sending(database: Database, *, first_retry: float = 0.02) -> AsyncIterator[Running]:
    """A server that sends to a world of its own."""
    running = await begin(database, first_retry=first_retry)
    yield running
    await running.stop()


async def begin(
    database: Database, *, first_retry: float = 0.02, longest_retry: float = 3600, past: World | None = None
) -> Running:
    """`past`: the world as an earlier run has left it."""
    foundation = await lay_foundation(database, Signer(SERVER, generate_signing_key("test")), cache_mib=16)
    destinations = Destinations(database, Backoff(first=first_retry, longest=longest_retry))
    await destinations.load()
    world = World(destinations) if past is None else evolve(past, destinations=destinations)
    parts = sender_parts(foundation, transactions=world, destinations=destinations, peers=Peers(SERVER))
    return Running(foundation, world, parts, asyncio.create_task(parts.sender.run()))
