"""Checks 1 to 3 on receipt of PDUs, for many at a time [ss "Checks performed on receipt of a PDU"].

The keys that all of them need are had in one go. A signature costs some 55 µs, during which PyNaCl lets other threads
run; so more than a handful are checked in slices on threads of their own, and the event loop goes on meanwhile. All are
read before the first signature is verified: threads that do both in turn spend a third of their time waiting for each
other.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

import structlog
from attrs import field, frozen

from homeserver.core.canonical_json import NotCanonical, Unparsed, decode_lenient
from homeserver.core.event import Event
from homeserver.core.hashing import canonical_bytes
from homeserver.core.receipt_checks import (
    Dropped,
    ServerKeys,
    authorizer_signed,
    check_hash,
    check_received,
    check_signatures,
    keys_needed,
)
from homeserver.core.room_versions import RoomVersion
from homeserver.services.judging import Arrival
from storage.server_keys import KeyName

log = structlog.get_logger(__name__)

AT_ONCE = 8  # so many are checked where we stand: under a millisecond
SLICE = 256  # so many in one go on a thread: 5 ms of reading, or 16 of signatures
THREADS = 2

A = TypeVar("A")
B = TypeVar("B")


class Keys(Protocol):
    """What is used of the key ring."""

    async def keys(self, wanted: dict[KeyName, int]) -> ServerKeys: ...


def _threads() -> Executor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="pdu-checks")


@frozen(slots=True)
class _Read:
    """An event that has passed check 1, and what check 3 makes of it; `covered` is what signatures are over."""

    event: Event
    covered: bytes
    kept: Event
    json: bytes


Wanted = dict[KeyName, int]  # keys that signatures name: the latest time at which each must have been valid


@frozen
class PduChecks:
    """From JSON, parsed or not, to what `Arrivals` takes."""

    ring: Keys
    threads: Executor = field(factory=_threads)

    async def check(self, pdus: Sequence[Any], version: RoomVersion) -> list[Arrival | Dropped]:
        """What becomes of each of the PDUs of one room, in their order."""
        wanted: Wanted = {}
        # Python's own work cannot be shared out to threads; the signatures are computed beside it.
        read = await self._on_threads(partial(_read, version, wanted), pdus, lanes=1)
        keys = await self.ring.keys(wanted)
        checked = await self._on_threads(partial(_verified, keys), read, lanes=THREADS)
        for pdu, outcome in zip(pdus, checked, strict=True):
            if isinstance(outcome, Dropped):
                _tell(pdu, outcome)
        return checked

    async def _on_threads(
        self, work: Callable[[Sequence[A]], list[B]], items: Sequence[A], *, lanes: int
    ) -> list[B]:
        """`work` on all the items, in slices where they are many."""
        if len(items) <= AT_ONCE:
            return work(items)
        slices = [items[start : start + SLICE] for start in range(0, len(items), SLICE)]
        results: list[list[B]] = [[] for _ in slices]
        todo = iter(enumerate(slices))  # shared: each lane takes the next one
        await asyncio.gather(*(self._lane(work, todo, results) for _ in range(lanes)))
        return [one for some in results for one in some]

    async def _lane(
        self,
        work: Callable[[Sequence[A]], list[B]],
        todo: Iterator[tuple[int, Sequence[A]]],
        results: list[list[B]],
    ) -> None:
        """One slice after the other, so that a big batch leaves room on the threads for small ones."""
        loop = asyncio.get_running_loop()
        for place, items in todo:
            results[place] = await loop.run_in_executor(self.threads, work, items)


def _read(version: RoomVersion, wanted: Wanted, pdus: Sequence[Any]) -> list[_Read | Dropped]:
    """Checks 1 and 3, and in `wanted` the keys for the others.

    Until room version 4 nobody asks for how long a key is valid [rooms/v5 "Signing key validity period"].
    """
    found: list[_Read | Dropped] = []
    for pdu in pdus:
        received = check_received(pdu, version)
        if isinstance(received, Dropped):
            found.append(received)
            continue
        event = received.event
        until = event.origin_server_ts if version.enforce_key_validity else 0
        for name in keys_needed(event.pdu, version):
            wanted[name] = max(until, wanted.get(name, 0))
        kept = check_hash(event)
        json = received.json if kept is event else canonical_bytes(kept.pdu, version)
        found.append(_Read(event, received.covered, kept, json))
    return found


def _verified(keys: ServerKeys, read: Sequence[_Read | Dropped]) -> list[Arrival | Dropped]:
    """Check 2, and the signature that check 4 asks for: hardly anything but that, so that threads share it out."""
    return [one if isinstance(one, Dropped) else _verify(one, keys) for one in read]


def _verify(read: _Read, keys: ServerKeys) -> Arrival | Dropped:
    dropped = check_signatures(read.event, keys, covered=read.covered)
    if dropped is not None:
        return dropped
    return Arrival(read.kept, read.json, authorizer_signed(read.event, keys))


def _tell(pdu: Any, dropped: Dropped) -> None:
    """Why, for the operator; the names are the PDU's own word."""
    if isinstance(pdu, Unparsed):
        try:
            pdu = decode_lenient(pdu)
        except NotCanonical:
            pdu = None
    said = {name: pdu.get(name) for name in ("type", "sender", "room_id")} if isinstance(pdu, dict) else {}
    names = {name: value[:255] for name, value in said.items() if isinstance(value, str)}
    log.info("dropped a PDU", check=dropped.check, reason=dropped.reason, **names)
