"""Checks 1 to 3 on receipt of PDUs, for many at a time [ss "Checks performed on receipt of a PDU"].

The keys that all of them need are had in one go. A signature costs some 55 µs, during which PyNaCl lets other threads
run; so more than a handful are checked in slices on threads of their own, and the event loop goes on meanwhile. A slice
is parsed and verified in one go: while one thread parses, the other one's signature is computed.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

import structlog
from attrs import field, frozen

from homeserver.core.event_format import Received, names_signers
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
SLICE = 64  # so many in one go on a thread: some 6 ms
THREADS = 2

A = TypeVar("A")
B = TypeVar("B")


class Keys(Protocol):
    """What is used of the key ring."""

    async def keys(self, wanted: dict[KeyName, int]) -> ServerKeys: ...


def _threads() -> Executor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="pdu-checks")


@frozen
class PduChecks:
    """From parsed JSON to what `Arrivals` takes."""

    ring: Keys
    threads: Executor = field(factory=_threads)

    async def check(self, pdus: Sequence[Any], version: RoomVersion) -> list[Arrival | Dropped]:
        """What becomes of each of the PDUs of one room, in their order."""
        keys = await self.ring.keys(await self._wanted(pdus, version))
        checked = await self._on_threads(partial(_checked, version, keys), pdus)
        for pdu, outcome in zip(pdus, checked, strict=True):
            if isinstance(outcome, Dropped):
                _tell(pdu, outcome)
        return checked

    async def _wanted(self, pdus: Sequence[Any], version: RoomVersion) -> dict[KeyName, int]:
        if len(pdus) <= SLICE:
            return _wanted(pdus, version)
        return await asyncio.get_running_loop().run_in_executor(self.threads, _wanted, pdus, version)

    async def _on_threads(self, work: Callable[[Sequence[A]], list[B]], items: Sequence[A]) -> list[B]:
        """`work` on all the items, in slices where they are many."""
        if len(items) <= AT_ONCE:
            return work(items)
        slices = [items[start : start + SLICE] for start in range(0, len(items), SLICE)]
        results: list[list[B]] = [[] for _ in slices]
        todo = iter(enumerate(slices))  # shared: each lane takes the next one
        await asyncio.gather(*(self._lane(work, todo, results) for _ in range(THREADS)))
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


def _wanted(pdus: Sequence[Any], version: RoomVersion) -> dict[KeyName, int]:
    """The keys that the signatures name, and the latest time at which each must have been valid.

    Until room version 4 nobody asks for how long a key is valid [rooms/v5 "Signing key validity period"].
    """
    wanted: dict[KeyName, int] = {}
    for pdu in pdus:
        if not names_signers(pdu, version):
            continue
        until = pdu["origin_server_ts"] if version.enforce_key_validity else 0
        for name in keys_needed(pdu, version):
            wanted[name] = max(until, wanted.get(name, 0))
    return wanted


def _checked(version: RoomVersion, keys: ServerKeys, pdus: Sequence[Any]) -> list[Arrival | Dropped]:
    return [_check(pdu, version, keys) for pdu in pdus]


def _check(pdu: Any, version: RoomVersion, keys: ServerKeys) -> Arrival | Dropped:
    received = check_received(pdu, version)
    return received if isinstance(received, Dropped) else _verify(received, keys)


def _verify(received: Received, keys: ServerKeys) -> Arrival | Dropped:
    """Checks 2 and 3, and the signature that check 4 asks for."""
    event = received.event
    dropped = check_signatures(event, keys, covered=received.covered)
    if dropped is not None:
        return dropped
    signed = authorizer_signed(event, keys)
    kept = check_hash(event)
    json = received.json if kept is event else canonical_bytes(kept.pdu, kept.version)
    return Arrival(kept, json, signed)


def _tell(pdu: Any, dropped: Dropped) -> None:
    """Why, for the operator; the names are the PDU's own word."""
    said = {name: pdu.get(name) for name in ("type", "sender", "room_id")} if isinstance(pdu, dict) else {}
    names = {name: value[:255] for name, value in said.items() if isinstance(value, str)}
    log.info("dropped a PDU", check=dropped.check, reason=dropped.reason, **names)
