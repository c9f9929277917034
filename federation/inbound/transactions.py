"""Server-Server API, "Transactions": what other servers send is on disk before they are told so.

The answer tells of each PDU whether it was taken, not what became of it: checks 2 to 7 come later, room by room. A
repeated transaction gets the answer of the first, also while the first is still being written.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

import orjson
import structlog
from attrs import define, field, frozen

from federation.admission import Admission, Refusal
from federation.edus import Edus
from federation.inbound.backlog import Backlog
from federation.inbound.metrics import InboundMetrics
from federation.protocol.pdu_ids import ALL_VERSIONS, possible_ids
from federation.protocol.pdu_json import parse_pdu_text
from federation.protocol.transactions import (
    MAX_EDUS,
    MAX_PDUS,
    InvalidTransaction,
    Pdu,
    TooMany,
    Transaction,
    parse,
)
from homeserver.core.canonical_json import NotCanonical
from homeserver.core.errors import MatrixError, bad_json, forbidden, invalid_param
from homeserver.core.event import Event
from homeserver.core.receipt_checks import Dropped, check_valid
from homeserver.core.room_versions import RoomVersion
from homeserver.services.now import now_ms
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from storage import inbound_pdus
from storage.inbound_pdus import ReceivedPdu, ReceivedTransaction
from storage.rooms import Room

log = structlog.get_logger(__name__)

MAX_BODY = 200 * 65_536  # fifty PDUs of the greatest size, and as much again for each hundred EDUs thrice
MAX_TXN_ID = 255
PARSED_AT_ONCE = 128 * 1024  # bytes of PDUs, before others get their turn

NO_ROOM = Refusal("The event names no room")

# Asked for member events of rooms we are not in: was it the end of an invitation or a knock of ours?
Outsider = Callable[[Pdu], Awaitable[bool]]


@define(eq=False)
class _Sorted:
    """A transaction's PDUs: those to keep, and what the sender is told of each."""

    kept: list[ReceivedPdu] = field(factory=list)
    told: dict[str, dict[str, str]] = field(factory=dict)


@frozen
class Incoming:
    """Takes transactions in."""

    admission: Admission
    edus: Edus
    outsider: Outsider
    backlog: Backlog
    metrics: InboundMetrics
    arrived: Callable[[list[int]], None]  # rooms that have got something to judge

    async def take(self, txn_id: str, transaction: Transaction) -> bytes:
        """Keep all of it; gives the answer."""
        origin, database = transaction.origin, self.admission.database
        async with database.read() as conn:
            if (answer := await inbound_pdus.recorded_answer(conn, origin, txn_id)) is not None:
                self.metrics.transactions.labels("repeated").inc()
                return answer
        sorted_pdus = await self._sort(transaction)
        self.backlog.require_room(origin, len(sorted_pdus.kept))
        await self.edus.keep(origin, transaction.edus)
        answer = orjson.dumps({"pdus": sorted_pdus.told})
        await self._store(ReceivedTransaction(origin, txn_id, now_ms(), answer), sorted_pdus.kept)
        await self.edus.tell(origin, transaction.edus)
        self.metrics.transactions.labels("taken").inc()
        return answer

    async def _store(self, record: ReceivedTransaction, pdus: Sequence[ReceivedPdu]) -> None:
        """Write it all, and have it judged. It counts before it can be found, or it might be through before."""
        self.backlog.add(record.origin, len(pdus))
        new = False
        try:
            async with self.admission.database.writer() as conn:
                new = await inbound_pdus.store(conn, record, pdus)
        finally:
            if not new:
                self.backlog.remove(record.origin, len(pdus))
        self.arrived([pdu.room_nid for pdu in pdus])

    async def _sort(self, transaction: Transaction) -> _Sorted:
        """Which PDUs can be kept: of rooms open to the sender, and events of these rooms' versions (check 1)."""
        origin = transaction.origin
        rooms = await self.admission.rooms(origin, {pdu.room_id for pdu in transaction.pdus if pdu.room_id})
        result, size = _Sorted(), 0
        for pdu in transaction.pdus:
            room = rooms.get(pdu.room_id or "")
            size += len(pdu.json)
            if size > PARSED_AT_ONCE:
                size = 0
                await asyncio.sleep(0)
            if isinstance(room, Room):
                self._keep(result, origin, room, pdu)
            elif room is not None and room.unknown and await self.outsider(pdu):
                result.told |= {event_id: {} for event_id in possible_ids(pdu.json, ALL_VERSIONS)}
            else:
                self._refuse(result, origin, pdu, room or NO_ROOM)
        return result

    def _keep(self, result: _Sorted, origin: str, room: Room, pdu: Pdu) -> None:
        valid = check_1(pdu.json, room.version)
        if isinstance(valid, Dropped):
            self._refuse(result, origin, pdu, Refusal(valid.reason), [room.version])
        elif valid.room_id != room.room_id:
            self._refuse(result, origin, pdu, Refusal("its room_id is ambiguous"), [room.version])
        elif valid.event_id not in result.told:
            result.told[valid.event_id] = {}
            result.kept.append(ReceivedPdu(room.nid, valid.event_id, pdu.json))

    def _refuse(
        self,
        result: _Sorted,
        origin: str,
        pdu: Pdu,
        refusal: Refusal,
        versions: Collection[RoomVersion] = ALL_VERSIONS,
    ) -> None:
        self.metrics.pdus.labels("refused").inc()
        log.info("PDU refused", origin=origin, room_id=pdu.room_id, reason=refusal.reason)
        for event_id in possible_ids(pdu.json, versions):
            result.told[event_id] = {"error": refusal.reason}


@define(eq=False)
class TransactionsApi:
    """PUT /send/{txnId}"""

    incoming: Incoming
    _running: dict[tuple[str, str], "asyncio.Task[bytes]"] = field(factory=dict)

    def endpoints(self) -> list[Endpoint]:
        path = "/_matrix/federation/v1/send/{txnId}"
        return [Endpoint("PUT", path, self.send, auth=Auth.SERVER, max_body=MAX_BODY)]

    async def send(self, call: Call) -> Result:
        key = (call.origin, _txn_id(call))
        task = self._running.get(key)
        if task is None:
            transaction = _read(call)
            size = len(call.raw_body)
            self.incoming.backlog.enter(call.origin, size)
            task = asyncio.create_task(self.incoming.take(key[1], transaction), name="transaction")
            self._running[key] = task
            task.add_done_callback(lambda done: self._done(key, size, done))
        return await asyncio.shield(task)

    def _done(self, key: tuple[str, str], size: int, task: "asyncio.Task[bytes]") -> None:
        if not task.cancelled():
            task.exception()  # whoever asked has it, unless they have gone away
        del self._running[key]
        self.incoming.backlog.leave(key[0], size)


def check_1(json: bytes, version: RoomVersion) -> Event | Dropped:
    """Check 1 on bytes: is it an event of the room version [ss "Checks performed on receipt of a PDU"]?"""
    try:
        pdu = parse_pdu_text(json, version)
    except NotCanonical as error:
        return Dropped(1, f"not canonical JSON: {error}")
    return check_valid(pdu, version)


def _txn_id(call: Call) -> str:
    txn_id = call.path["txnId"]
    if len(txn_id) > MAX_TXN_ID or "\x00" in txn_id:
        raise invalid_param("The transaction id is not usable")
    return txn_id


def _read(call: Call) -> Transaction:
    try:
        transaction = parse(call.raw_body)
    except TooMany as error:
        message = f"A transaction holds at most {MAX_PDUS} PDUs and {MAX_EDUS} EDUs"
        raise MatrixError(400, "M_TOO_LARGE", message) from error
    except InvalidTransaction as error:
        raise bad_json("The body is not a transaction") from error
    if transaction.origin != call.origin:
        raise forbidden("The transaction's origin is not the server that signed the request")
    return transaction
