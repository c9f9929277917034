"""Asking servers for their own keys: one question to a server at a time, shared by all who need the answer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog
from attrs import define, field

from federation.keys.records import KeyRecords
from federation.keys.restraint import Restraint
from federation.protocol.key_responses import InvalidKeys, PublishedKeys, parse
from federation.transport.requests import PeerFault
from homeserver.services.now import Clock, now_ms

log = structlog.get_logger(__name__)

AT_ONCE = 64  # questions under way
MAX_RUNNING = 5_000  # questions under way or waiting for their turn
TIME_LIMIT = 15.0  # seconds for one question

Question = asyncio.Task[PublishedKeys | None]


@define(eq=False)
class KeyLookups:
    """The questions under way. `fetch` gives a server's answer to /_matrix/key/v2/server, or raises PeerFault."""

    fetch: Callable[[str], Awaitable[bytes]]
    records: KeyRecords
    clock: Clock = now_ms
    restraint: Restraint = field(factory=Restraint)
    _running: dict[str, Question] = field(factory=dict, init=False)
    _places: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(AT_ONCE), init=False)

    def questions(self, servers: Iterable[str], *, speaking: bool = False) -> dict[str, Question]:
        """A question to each of the servers that may be asked now; never to be cancelled by who waits for it.

        `speaking`: they have just spoken to us, so they are up.
        """
        asked = ((server, self._question(server, speaking)) for server in servers)
        return {server: question for server, question in asked if question is not None}

    async def ask(self, servers: Iterable[str], *, patience: float) -> None:
        """Let the servers tell their keys, as far as they do so in time; the records have them then."""
        questions = self.questions(servers)
        if questions:
            await asyncio.wait(questions.values(), timeout=patience)

    async def run(self) -> None:
        """Lasts until it is cancelled, and ends all questions then."""
        try:
            await asyncio.Event().wait()
        finally:
            tasks = list(self._running.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _question(self, server: str, speaking: bool) -> Question | None:
        if (running := self._running.get(server)) is not None:
            return running
        if len(self._running) >= MAX_RUNNING:
            return None
        if not self.restraint.may_ask(server, self.clock(), speaking=speaking):
            return None
        task = self._running[server] = asyncio.create_task(self._ask(server), name=f"keys of {server}")

        def done(task: Question) -> None:
            del self._running[server]
            report(task)

        task.add_done_callback(done)
        return task

    async def _ask(self, server: str) -> PublishedKeys | None:
        async with self._places:
            try:
                async with asyncio.timeout(TIME_LIMIT):
                    answer = await self.fetch(server)
                published = parse(answer, server, self.clock())
            except (PeerFault, InvalidKeys, TimeoutError) as fault:
                self.restraint.servers.add(server, self.clock())
                log.info("no keys of a server", server=server, reason=str(fault) or "no answer in time")
                return None
        self.restraint.servers.end(server)
        await self.records.keep([published], direct=True)
        return published


def report(task: asyncio.Task[Any]) -> None:
    """Nobody may be waiting any more; a fault is told all the same."""
    if not task.cancelled() and (fault := task.exception()) is not None:
        log.error("a look-up of keys failed", question=task.get_name(), exc_info=fault)
