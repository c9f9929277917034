"""The way in for other servers' transactions on a real database; only the servers at the other end are made up."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
from attrs import define, field
from prometheus_client import CollectorRegistry
from signedjson.key import generate_signing_key, get_verify_key

from federation.admission import Admission
from federation.client.events import RoomStateAnswer, StateIds
from federation.edus import EduHandler, Edus
from federation.gap_queue import GapQueue
from federation.gaps import GapLimits, Gaps
from federation.inbound.backlog import Backlog
from federation.inbound.metrics import InboundMetrics, inbound_metrics
from federation.inbound.transactions import Incoming
from federation.ledger import Ledger
from federation.protocol.transactions import Edu, Transaction, parse
from federation.receive import Receiver
from federation.transport.answers import Refusal
from federation.transport.requests import PeerRefused, PeerUnreachable
from federation.verify import PduChecks
from homeserver.core.event import Event
from homeserver.core.receipt_checks import ServerKey
from homeserver.core.room_versions import V12, RoomVersion
from homeserver.services.arrivals import Arrivals
from homeserver.services.judging import Arrival
from homeserver.services.room_servers import RoomServers
from homeserver.services.room_states import RoomStates
from homeserver.services.server_acls import ServerACLs
from storage.database import Database
from storage.inbound_pdus import WaitingPdu
from storage.rooms import Room
from tests.kit.remote_room import RemoteRoom, pdu_bytes
from tests.kit.services import Kit, build_kit

THERE, ELSEWHERE, OURS = "there.example", "elsewhere.example", "example.org"
ANNA, BEN, ZOE, ALICE = f"@anna:{THERE}", f"@ben:{THERE}", f"@zoe:{ELSEWHERE}", f"@alice:{OURS}"
KEYS = {name: generate_signing_key("1") for name in (THERE, ELSEWHERE, OURS)}
NEVER = 2**53 - 1
PATIENCE = 20.0
LIMITS = GapLimits()


def open_room(version: RoomVersion = V12) -> RemoteRoom:
    """A public room of another server, which anna and our alice are in, and zoe of a third server."""
    room = RemoteRoom.founded(version, THERE, KEYS[THERE])
    room.keys = dict(KEYS)
    room.public(ANNA)
    for user in (ALICE, BEN, ZOE):
        room.join(user)
    return room


@define(eq=False)
class Ring:
    """All keys are known."""

    async def keys(self, wanted: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], ServerKey]:
        return {
            (name, key_id): ServerKey(get_verify_key(KEYS[name]), NEVER)
            for name, key_id in wanted
            if name in KEYS and key_id == "ed25519:1"
        }


@define(eq=False, slots=False)
class Others:
    """How other servers answer what we ask, from their copies of rooms. Absent servers are unreachable."""

    rooms: dict[str, RemoteRoom] = field(factory=dict)  # by server
    asked: list[tuple[str, ...]] = field(factory=list)
    extra: list[dict[str, Any]] = field(factory=list)  # in every answer of several events
    untold: set[str] = field(factory=set)  # events of which nothing around them is told
    unsaid: set[str] = field(factory=set)  # events that are in no list of missing ones
    silent: bool = False  # no lists of missing events are given at all

    def _room(self, what: str, server: str, *details: str) -> RemoteRoom:
        self.asked.append((what, server, *details))
        if server not in self.rooms:
            raise PeerUnreachable(server, "not there")
        return self.rooms[server]

    def _pdus(self, events: Iterable[Event]) -> list[dict[str, Any]]:
        return [dict(event.pdu) for event in events] + self.extra

    async def event(self, server: str, event_id: str) -> dict[str, Any] | None:
        event = self._room("event", server, event_id).events.get(event_id)
        return None if event is None else dict(event.pdu)

    async def state_ids(self, server: str, room_id: str, event_id: str) -> StateIds:
        room = self._room("state_ids", server, event_id)
        if event_id in self.untold:
            raise PeerRefused(server, Refusal(404, "M_NOT_FOUND", "not here"))
        state = [event.event_id for event in room.state_before(event_id)]
        return StateIds(state, [event.event_id for event in room.auth_chain(state)])

    async def state(self, server: str, room_id: str, event_id: str) -> RoomStateAnswer:
        room = self._room("state", server, event_id)
        state = room.state_before(event_id)
        chain = room.auth_chain([event.event_id for event in state])
        return RoomStateAnswer(self._pdus(state), self._pdus(chain))

    async def event_auth(self, server: str, room_id: str, event_id: str) -> list[dict[str, Any]]:
        room = self._room("event_auth", server, event_id)
        if event_id in self.untold:
            raise PeerRefused(server, Refusal(404, "M_NOT_FOUND", "not here"))
        return self._pdus(room.auth_chain([event_id]))

    async def missing_events(
        self,
        server: str,
        room_id: str,
        *,
        earliest: Sequence[str],
        latest: Sequence[str],
        limit: int,
        min_depth: int = 0,
    ) -> list[dict[str, Any]]:
        room = self._room("missing_events", server, *latest)
        if self.silent:
            raise PeerRefused(server, Refusal(404, "M_NOT_FOUND", "not here"))
        found = room.between(earliest, latest, limit=min(limit, 20))
        return self._pdus(event for event in found if event.event_id not in self.unsaid)


@define(eq=False)
class WatchedBacklog(Backlog):
    """Tells when nothing waits any more."""

    changed: asyncio.Event = field(factory=asyncio.Event)

    def remove(self, origin: str, count: int = 1) -> None:
        super().remove(origin, count)
        self.changed.set()


@define(eq=False)
class WatchedLedger(Ledger):
    """Tells when something could not be judged."""

    failed: asyncio.Event = field(factory=asyncio.Event, init=False)

    async def fail(self, room: Room, rows: Collection[WaitingPdu], reason: str) -> None:
        await super().fail(room, rows, reason)
        if rows:
            self.failed.set()


@define(eq=False)
class Inbox:
    """One of our servers, as far as others send to it."""

    kit: Kit
    others: Others
    incoming: Incoming
    receiver: Receiver
    backlog: WatchedBacklog
    metrics: InboundMetrics
    sent: int = 0

    async def found(self, room: RemoteRoom, *, without: Collection[Event] = ()) -> None:
        """Be in a room with what has happened in it so far."""
        known = [event for event in room.events.values() if event not in without]
        arrivals = [Arrival(event, pdu_bytes(event)) for event in known]
        await self.receiver.arrivals.begin(arrivals[0])
        await self.receiver.arrivals.receive_all(room.room_id, arrivals[1:])

    async def send(
        self,
        pdus: Iterable[Event | bytes],
        *,
        edus: Sequence[Edu] = (),
        origin: str = THERE,
        txn_id: str | None = None,
    ) -> dict[str, dict[str, str]]:
        """A transaction of another server; gives what it is told of its PDUs."""
        self.sent += 1
        texts = [pdu if isinstance(pdu, bytes) else pdu_bytes(pdu) for pdu in pdus]
        transaction = transaction_of(texts, origin, edus)
        answer = await self.incoming.take(txn_id or f"txn{self.sent}", transaction)
        return orjson.loads(answer)["pdus"]

    async def judged(self, *, left: int = 0) -> None:
        """Wait until all that came has a verdict, but for so many."""
        async with asyncio.timeout(PATIENCE):
            while self.backlog.total > left:
                self.backlog.changed.clear()
                await self.backlog.changed.wait()

    async def has(self, event: Event) -> None:
        """Wait until the event is stored, whatever else still waits."""
        async with asyncio.timeout(PATIENCE):
            while True:
                self.backlog.changed.clear()
                if await self.status(event) is not None:
                    return
                await self.backlog.changed.wait()

    async def failed(self) -> None:
        """Wait until something could not be judged; then let the time pass after which it is tried again."""
        ledger = self.receiver.ledger
        async with asyncio.timeout(PATIENCE):
            await ledger.failed.wait()
        ledger.failed.clear()
        clock = ledger.clock
        ledger.clock = lambda: clock() + 10_000_000
        ledger._put_off.set()

    async def status(self, event: Event) -> int | None:
        """0 accepted, 1 rejected, 2 soft-failed, 3 outlier; None: unknown."""
        async with self.kit.database.read() as conn:
            return await conn.fetchval("SELECT status FROM events WHERE event_id = $1", event.event_id)

    async def statuses(self, events: Iterable[Event]) -> list[int | None]:
        return [await self.status(event) for event in events]

    async def rows(self) -> int:
        async with self.kit.database.read() as conn:
            return await conn.fetchval("SELECT count(*) FROM inbound_pdus")

    async def extremities(self, room: RemoteRoom) -> set[str]:
        head = await self.kit.timeline.head(room.room_id)
        return {event_id for _, event_id in head.extremities}

    async def current(self, room: RemoteRoom) -> dict[tuple[str, str], str]:
        async with self.kit.database.read() as conn:
            rows = await conn.fetch(
                """
                SELECT k.type, k.state_key, e.event_id FROM rooms r
                  JOIN current_state c USING (room_nid) JOIN state_keys k ON k.key_nid = c.key_nid
                  JOIN events e ON e.event_nid = c.event_nid
                 WHERE r.room_id = $1
                """,
                room.room_id,
            )
        return {(row[0], row[1]): row[2] for row in rows}

    @asynccontextmanager
    async def running(self):
        """While the work on what came goes on; stopping is as sudden as a crash to the rows."""
        task = asyncio.create_task(self.receiver.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.kit.committer.drain()


def transaction_of(texts: Sequence[bytes], origin: str, edus: Sequence[Edu] = ()) -> Transaction:
    said = [{"edu_type": edu.type, "content": edu.content} for edu in edus]
    body = b'{"origin":%b,"origin_server_ts":1,"pdus":[%b],"edus":%b}'
    return parse(body % (orjson.dumps(origin), b",".join(texts), orjson.dumps(said)))


async def nobody(pdu: object) -> bool:
    return False


def build_inbox(
    database: Database,
    *,
    others: Others | None = None,
    handlers: Mapping[str, EduHandler] | None = None,
    limits: GapLimits = LIMITS,
    kit: Kit | None = None,
) -> Inbox:
    """One process; several on one database are as many, or one after the other."""
    kit, others = kit or build_kit(database), others or Others()
    arrivals = Arrivals(kit.timeline, RoomStates(kit.reader, kit.state_keys))
    metrics, backlog = inbound_metrics(CollectorRegistry()), WatchedBacklog()
    check = PduChecks(Ring()).check
    ledger = WatchedLedger(database, kit.reader.rooms, backlog, metrics)
    gaps = Gaps(others, check, arrivals, RoomServers(), limits)
    receiver = Receiver(check, arrivals, ledger, GapQueue(gaps, ledger))
    admission = Admission(database, ServerACLs(kit.reader))
    edus = Edus(handlers or {}, metrics)
    incoming = Incoming(admission, edus, nobody, backlog, metrics, receiver.arrived)
    return Inbox(kit, others, incoming, receiver, backlog, metrics)
