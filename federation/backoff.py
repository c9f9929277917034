"""Which servers can be asked just now. One that fails is left alone for longer and longer; one that speaks to us is up.

Kept in memory, where it is asked for at every request; what changes is written soon after by `run`, so that a restart
does not knock on a thousand dead doors at once. Without a row, and without memory, a server may be asked.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import structlog
from attrs import define, evolve, field

from homeserver.core.backoff import Backoff
from homeserver.services.now import Clock, now_ms
from storage import destinations as table
from storage.database import Database, Unavailable
from storage.destinations import Destination

log = structlog.get_logger(__name__)

_MOST = 20_000  # servers remembered
_WRITE_AFTER = 1.0  # seconds in which changes gather
_SUCCESS_LASTS = 3_600_000  # ms for which a success need not be noted again
_REVIVAL_LASTS = 30_000  # ms in which a server that speaks but does not answer is not believed again
_MAX_ERROR = 500


def _nothing(destination: str) -> None:
    """Nobody wants to know."""


@define(eq=False)
class Destinations:
    """`changed` is called with a server's name when it may be asked again, earlier than was said."""

    database: Database
    backoff: Backoff = field(factory=Backoff)
    clock: Clock = now_ms
    changed: Callable[[str], None] = _nothing
    _known: OrderedDict[str, Destination] = field(factory=OrderedDict, init=False)
    _revived: OrderedDict[str, int] = field(factory=OrderedDict, init=False)
    _held: OrderedDict[str, int] = field(factory=OrderedDict, init=False)
    _unwritten: OrderedDict[str, Destination] = field(factory=OrderedDict, init=False)
    _waiting: dict[str, asyncio.Event] = field(factory=dict, init=False)
    _news: asyncio.Event = field(factory=asyncio.Event, init=False)

    def may_ask(self, destination: str) -> bool:
        """Neither backing off nor asked to wait."""
        return self.retry_at(destination) <= self.clock()

    def retry_at(self, destination: str) -> int:
        """From when on it may be asked, in ms; 0 where nothing is in the way."""
        known = self._known.get(destination)
        return max(known.retry_at if known is not None else 0, self._held.get(destination, 0))

    def standing(self, destination: str) -> Destination:
        """How it fares, as far as is remembered here."""
        return self._known.get(destination) or Destination(destination)

    async def until_may_ask(self, destination: str) -> None:
        """Wait for the end of its back-off."""
        while (left := self.retry_at(destination) - self.clock()) > 0:
            event = self._waiting.setdefault(destination, asyncio.Event())
            try:
                async with asyncio.timeout(left / 1000):
                    await event.wait()
            except TimeoutError:
                self._waiting.pop(destination, None)

    def failed(self, destination: str, why: str) -> None:
        """It could not be reached. Requests that fail together count once."""
        now, known = self.clock(), self.standing(destination)
        if known.failures and known.retry_at > now:
            return
        failures = known.failures + 1
        if failures == 1:
            log.info("a server cannot be reached", destination=destination, reason=why[:_MAX_ERROR])
        wait = self.backoff.wait(failures, random.random())  # noqa: S311 (spreads load)
        self._note(
            evolve(
                known,
                failures=failures,
                failing_since=known.failing_since or now,
                retry_at=now + int(wait * 1000),
                last_error=why.replace("\x00", "")[:_MAX_ERROR],
            )
        )

    def answered(self, destination: str) -> None:
        """It has answered a request, if only with a refusal."""
        now, known = self.clock(), self.standing(destination)
        if not known.failures and now - known.last_success < _SUCCESS_LASTS:
            return
        self._note(Destination(destination, last_success=now, last_error=known.last_error))
        self._revived.pop(destination, None)
        if known.failures:
            log.info("a server answers again", destination=destination, failures=known.failures)
            self._tell(destination)

    def spoke_to_us(self, destination: str) -> None:
        """It has sent us a signed request: it is up. The count stays until it answers as well."""
        known = self._known.get(destination)
        now = self.clock()
        if known is None or known.retry_at <= now or now - self._revived.get(destination, 0) < _REVIVAL_LASTS:
            return
        self._revived[destination] = now
        _bound(self._revived)
        self._note(evolve(known, retry_at=0))
        self._tell(destination)

    def hold(self, destination: str, seconds: float) -> None:
        """It asks us to wait (429). This is no failure, and its speaking to us does not end it."""
        self._held[destination] = self.clock() + int(seconds * 1000)
        _bound(self._held)

    def retry_now(self, destination: str) -> None:
        """The operator says that it is up."""
        self._held.pop(destination, None)
        self._note(evolve(self.standing(destination), failures=0, failing_since=0, retry_at=0))
        self._tell(destination)

    async def load(self) -> None:
        """Take up what the last run of the server knew."""
        async with self.database.read() as conn:
            rows = await table.failing(conn, _MOST)
        for row in reversed(rows):
            self._known.setdefault(row.server_name, row)

    async def run(self) -> None:
        """Write what changes, until cancelled."""
        try:
            await self.load()
            while True:
                await self._news.wait()
                await asyncio.sleep(_WRITE_AFTER)
                await self._flush_or_wait()
        finally:
            await self._flush_or_wait()

    async def flush(self) -> None:
        """Write what has changed."""
        self._news.clear()
        if not self._unwritten:
            return
        rows, self._unwritten = self._unwritten, OrderedDict()
        try:
            async with self.database.writer() as conn:
                await table.put(conn, list(rows.values()))
        except Unavailable:
            self._unwritten = OrderedDict(rows | self._unwritten)
            self._news.set()
            raise

    async def _flush_or_wait(self) -> None:
        try:
            await self.flush()
        except Unavailable as cause:
            log.warning("what is known of other servers waits to be written", cause=repr(cause))

    def _note(self, row: Destination) -> None:
        self._known[row.server_name] = row
        self._known.move_to_end(row.server_name)
        _bound(self._known)
        self._unwritten[row.server_name] = row
        _bound(self._unwritten)
        self._news.set()

    def _tell(self, destination: str) -> None:
        event = self._waiting.pop(destination, None)
        if event is not None:
            event.set()
        self.changed(destination)


def _bound(kept: OrderedDict[str, Any]) -> None:
    if len(kept) > _MOST:
        kept.popitem(last=False)
