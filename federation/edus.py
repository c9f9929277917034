"""Ephemeral messages of other servers: each type has its handler, and a bad one spoils no other [ss "EDUs"].

Handlers of one type run in the order of the EDUs, those of different types beside each other. What must not be lost
(`LASTING`) is handled before its transaction is recorded: if that fails, the sender tries again. All else comes after,
so that receipts find the events they name, and may be lost.
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


@frozen
class Edus:
    """Hands each EDU to the handler of its type; unknown types are ignored."""

    handlers: Mapping[str, EduHandler]
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
        runs = [self._in_order(origin, self.handlers[name], group) for name, group in by_type.items()]
        return [failure for failures in await asyncio.gather(*runs) for failure in failures]

    async def _in_order(self, origin: str, handler: EduHandler, edus: Sequence[Edu]) -> list[Exception]:
        failures: list[Exception] = []
        for edu in edus:
            outcome = "handled"
            try:
                await handler(origin, edu.content)
            except MatrixError as error:
                outcome = "malformed"
                log.info("bad EDU", origin=origin, type=edu.type, reason=error.message)
            except TEMPORARY as fault:
                outcome = "failed"
                failures.append(fault)
                log.warning("EDU not handled", origin=origin, type=edu.type, cause=repr(fault))
            except Exception:  # a fault of ours: the EDU is lost, or its sender would repeat it for ever
                outcome = "failed"
                log.exception("EDU not handled", origin=origin, type=edu.type)
            self.metrics.edus.labels(edu.type, outcome).inc()
        return failures
