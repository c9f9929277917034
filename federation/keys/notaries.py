"""Asking notaries for keys that their servers do not tell us [ss "Querying Keys Through Another Server"]."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial

import structlog
from attrs import define, field
from signedjson.types import VerifyKey

from federation.keys.lookups import TIME_LIMIT, KeyLookups, report
from federation.keys.memory import HeldKey
from federation.keys.records import Found, KeyRecords, by_name
from federation.protocol.key_queries import MAX_SERVERS, Query, parse_answer
from federation.protocol.key_responses import InvalidKeys, PublishedKeys
from federation.transport.requests import PeerFault
from homeserver.services.now import Clock, now_ms
from storage.server_keys import KeyName

log = structlog.get_logger(__name__)


@define(eq=False)
class KeyNotaries:
    """The trusted key servers, in the order they are asked. `fetch` gives one's answer, or raises PeerFault."""

    names: Sequence[str]
    fetch: Callable[[str, Query], Awaitable[bytes]]
    lookups: KeyLookups
    records: KeyRecords
    clock: Clock = now_ms
    _running: dict[KeyName, asyncio.Task[Found]] = field(factory=dict, init=False)

    async def find(self, wanted: Mapping[KeyName, int]) -> Found:
        """What the notaries know of the keys. What is being asked already is not asked twice."""
        new = {name: until for name, until in wanted.items() if name not in self._running}
        for some in _by_query(new):
            self._start(some)
        tasks = {self._running[name] for name in wanted}
        if tasks:
            await asyncio.wait(tasks)
        return {name: key for task in tasks for name, key in task.result().items() if name in wanted}

    def _start(self, wanted: Mapping[KeyName, int]) -> None:
        task = asyncio.create_task(self._ask_all(wanted), name="keys through notaries")
        self._running.update(dict.fromkeys(wanted, task))

        def done(task: asyncio.Task[Found]) -> None:
            for name in wanted:
                del self._running[name]
            report(task)

        task.add_done_callback(done)

    async def _ask_all(self, wanted: Mapping[KeyName, int]) -> Found:
        """One notary after the other, until nothing is missing."""
        found = Found()
        for notary in self.names:
            left = insufficient(wanted, found, self.clock())
            if not left:
                break
            try:
                async with asyncio.timeout(TIME_LIMIT):
                    heard = await self._ask(notary, left)
            except (PeerFault, InvalidKeys, TimeoutError) as fault:
                log.warning("a notary does not answer", notary=notary, reason=str(fault) or "not in time")
                continue
            await self.records.keep(heard, direct=False)
            for published in heard:
                improve(found, by_name(published), left)
        for name in wanted.keys() - found.keys():
            self.lookups.restraint.keys.add(name, self.clock())
        return found

    async def _ask(self, notary: str, wanted: Mapping[KeyName, int]) -> Sequence[PublishedKeys]:
        query: dict[str, dict[str, int]] = {}
        for (server, key_id), until in wanted.items():
            query.setdefault(server, {})[key_id] = max(until, 0)
        keys = await self._keys_of(notary)
        answer = await self.fetch(notary, query)
        judge = partial(parse_answer, notary=notary, notary_keys=keys, now=self.clock())
        return await asyncio.to_thread(judge, answer, query)  # two signatures a server, of many servers

    async def _keys_of(self, notary: str) -> Mapping[str, VerifyKey]:
        """The keys that a notary signs with now: as stored while they are valid, else from itself."""
        published = await self.records.newest(notary)
        if published is None or published.valid_until_ts < self.clock():
            questions = self.lookups.questions([notary])
            if questions:
                await asyncio.wait(questions.values())
            published = questions[notary].result() if questions else None
        if published is None:
            raise InvalidKeys("its own keys cannot be had")
        return {key_id: known.key for key_id, known in published.keys.items() if not known.retired}


def insufficient(wanted: Mapping[KeyName, int], found: Found, now: int) -> dict[KeyName, int]:
    """What of the wanted is missing, or not known to be valid long enough."""
    return {
        name: until
        for name, until in wanted.items()
        if name not in found or not HeldKey(found[name], now).suffices(until, now)
    }


def improve(found: Found, heard: Found, wanted: Mapping[KeyName, int]) -> None:
    """Take over what is wanted, and of two words on one key the one that tells more."""
    for name, key in heard.items():
        known = found.get(name)
        better = known is None or key.retired or key.valid_until_ts > known.valid_until_ts
        if name in wanted and better:
            found[name] = key


def _by_query(wanted: Mapping[KeyName, int]) -> Iterator[dict[KeyName, int]]:
    """No more servers at a time than one query may name."""
    servers = list(dict.fromkeys(server for server, _ in wanted))
    for start in range(0, len(servers), MAX_SERVERS):
        some = set(servers[start : start + MAX_SERVERS])
        yield {name: until for name, until in wanted.items() if name[0] in some}
