"""Ephemeral messages of other servers: each type has its handler, and a bad one spoils no other [ss "EDUs"].

EDUs of one type that are about the same thing are handled in their order, all others beside each other: what they write
meets in one commit or few. What must not be lost (`LASTING`) is handled before its transaction is recorded: if that
fails, the sender tries again. All else comes after, so that receipts find the events they name, and may be lost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog
from attrs import frozen

from federation.inbound.metrics import InboundMetrics
from federation.protocol.transactions import Edu
from homeserver.core.errors import MatrixError
from storage.committer import Overloaded
from storage.database import Unavailable

log = structlog.get_logger(__name__)

EduHandler = Callable[[str, Mapping[str, Any]], Awaitable[None]]  # raises MatrixError for what is malformed

LASTING = frozenset({"m.direct_to_device", "m.device_list_update", "m.signing_key_update"})
TEMPORARY = (Unavailable, Overloaded, TimeoutError)
AT_ONCE = 10  # of one type and transaction: each may take a connection to the database

# What an EDU of a type is about. What is of another type is about the same as all of its type.
SUBJECTS = {"m.typing": "room_id"}


@frozen
class AllAtOnce:
    """A handler that takes all EDUs of its type in a transaction; it drops malformed ones itself."""

    handle: Callable[[str, Sequence[Mapping[str, Any]]], Awaitable[None]]


Handlers = Mapping[str, EduHandler | AllAtOnce]


@frozen
class Edus:
    """Hands each EDU to the handler of its type; unknown types are ignored."""

    handlers: Handlers
    metrics: InboundMetrics

    async def keep(self, origin: str, edus: Iterable[Edu]) -> None:
        """Handle what must not be lost; raises what makes the sender try again."""
        failures = await self._handle(origin, [edu for edu in edus if edu.type in LASTING])
        if failures:
            raise failures[0]

    async def tell(self, origin: str, edus: Iterable[Edu]) -> None:
        """Handle what may be lost."""
        await self._handle(origin, [edu for edu in edus if edu.type not in LASTING])

    async def _handle(self, origin: str, edus: Sequence[Edu]) -> list[Exception]:
        by_type: dict[str, list[Edu]] = {}
        for edu in edus:
            if edu.type in self.handlers:
                by_type.setdefault(edu.type, []).append(edu)
            else:
                self.metrics.edus.labels("other", "ignored").inc()
        runs = [self._of_type(origin, self.handlers[name], group) for name, group in by_type.items()]
        return [failure for failures in await asyncio.gather(*runs) for failure in failures]

    async def _of_type(
        self, origin: str, handler: EduHandler | AllAtOnce, edus: Sequence[Edu]
    ) -> list[Exception]:
        if isinstance(handler, AllAtOnce):
            fault = await self._run(origin, edus, handler.handle(origin, [edu.content for edu in edus]))
            return [fault] if fault is not None else []
        failures: list[Exception] = []
        for group in in_turn(edus):
            runs = [self._run(origin, [edu], handler(origin, edu.content)) for edu in group]
            failures += [fault for fault in await asyncio.gather(*runs) if fault is not None]
        return failures

    async def _run(self, origin: str, edus: Sequence[Edu], run: Awaitable[None]) -> Exception | None:
        """Gives what may go well another time."""
        kind, outcome = edus[0].type, "handled"
        failure: Exception | None = None
        try:
            await run
        except MatrixError as error:
            outcome = "malformed"
            log.info("bad EDU", origin=origin, type=kind, reason=error.message)
        except TEMPORARY as fault:
            outcome, failure = "failed", fault
            log.warning("EDU not handled", origin=origin, type=kind, cause=repr(fault))
        except Exception:  # a fault of ours: the EDU is lost, or its sender would repeat it for ever
            outcome = "failed"
            log.exception("EDU not handled", origin=origin, type=kind)
        self.metrics.edus.labels(kind, outcome).inc(len(edus))
        return failure


def in_turn(edus: Iterable[Edu]) -> list[list[Edu]]:
    """Groups that are handled one after the other: none has two EDUs about the same thing, nor is any too large."""
    groups: list[list[Edu]] = []
    last: dict[str, int] = {}  # what it is about -> the last group with it
    for edu in edus:
        subject = _subject(edu)
        place = last.get(subject, -1) + 1
        while place < len(groups) and len(groups[place]) >= AT_ONCE:
            place += 1
        if place == len(groups):
            groups.append([])
        groups[place].append(edu)
        last[subject] = place
    return groups


def _subject(edu: Edu) -> str:
    field = SUBJECTS.get(edu.type)
    subject = edu.content.get(field) if field is not None else None
    return subject if isinstance(subject, str) else ""
