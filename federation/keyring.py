"""The keys by which events and requests of other servers are checked, from wherever they can be had.

In this order: our own, memory, the database, the servers themselves (all at once), the notaries. A key that is missing
in the answer could not be had in time; that is for the caller to judge, and no error here. What was asked for in vain
is not asked for again at once (`federation.keys.restraint`).
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress

from attrs import frozen
from signedjson.key import get_verify_key
from signedjson.types import SigningKey

from federation.keys.lookups import KeyLookups, Question
from federation.keys.notaries import KeyNotaries, improve, insufficient
from federation.keys.records import Found, KeyRecords, by_name
from federation.protocol.key_responses import RetiredKey, key_id
from federation.protocol.x_matrix import is_key_id
from homeserver.core.canonical_json import MAX_INTEGER
from homeserver.core.ids import is_server_name
from homeserver.core.receipt_checks import ServerKey, ServerKeys
from homeserver.services.now import Clock, now_ms
from storage.server_keys import KeyName

PATIENCE = 30.0  # seconds for all that must be asked
HEAD_START = 3.0  # seconds that servers have for their answers before notaries are asked as well
_POLICY_KEY = "ed25519:policy_server"  # never published [ss "Validating Policy Server signatures"]


@frozen
class OwnKeys:
    """Our keys, the retired ones among them, which nobody needs to be asked for."""

    server_name: str
    keys: ServerKeys


def own_keys(server_name: str, key: SigningKey, retired: Iterable[RetiredKey]) -> OwnKeys:
    """What we know of ourselves."""
    current = get_verify_key(key)
    keys = {
        (server_name, key_id(old.key)): ServerKey(old.key, old.expired_ts, retired=True) for old in retired
    }
    return OwnKeys(server_name, {**keys, (server_name, key_id(current)): ServerKey(current, MAX_INTEGER)})


@frozen
class KeyRing:
    """Everything that is known of keys, and can be."""

    own: OwnKeys
    records: KeyRecords
    lookups: KeyLookups
    notaries: KeyNotaries
    clock: Clock = now_ms

    def at_hand(self, wanted: Mapping[KeyName, int]) -> ServerKeys | None:
        """All the keys, valid long enough, from memory; None if anything has to be looked for."""
        found, left = self._remembered(wanted)
        return None if left or len(found) < len(wanted) else found

    async def keys(
        self, wanted: Mapping[KeyName, int], *, patience: float = PATIENCE, speaking: bool = False
    ) -> ServerKeys:
        """The keys, by server name and key id, that must have been valid at the times given (ms).

        Whether they were is for the caller to check: there may be none that is valid longer. `speaking`: the servers
        have just spoken to us, so they are up.
        """
        found, left = self._remembered(wanted)
        if left:
            stored = await self.records.stored(left)
            improve(found, {name: held.key for name, held in stored.items()}, left)
            left = insufficient(left, found, self.clock())
            if left:
                await self._ask(left, found, patience, speaking)
            # With a new key a server may have told that it has retired another.
            memory = self.records.memory
            improve(found, {name: held.key for name in found if (held := memory.get(name))}, wanted)
        return found

    def _remembered(self, wanted: Mapping[KeyName, int]) -> tuple[Found, dict[KeyName, int]]:
        """What memory has, and what has to be looked for."""
        found, left, now = Found(), dict[KeyName, int](), self.clock()
        for name, until in wanted.items():
            if name[0] == self.own.server_name:
                if name in self.own.keys:
                    found[name] = self.own.keys[name]
            elif _can_exist(name):
                held = self.records.memory.get(name)
                if held is not None:
                    found[name] = held.key
                if held is None or not held.suffices(until, now):
                    left[name] = until
                elif held.is_due(now):
                    self.lookups.questions([name[0]])  # nobody waits for the answer
        return found, left

    async def _ask(self, left: dict[KeyName, int], found: Found, patience: float, speaking: bool) -> None:
        now, restraint = self.clock(), self.lookups.restraint
        sought = {
            name: until for name, until in left.items() if restraint.may_seek(name, now, speaking=speaking)
        }
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._ask_everybody(sought, found, speaking)

    async def _ask_everybody(self, wanted: dict[KeyName, int], found: Found, speaking: bool) -> None:
        servers = {server for server, _ in wanted}
        questions = self.lookups.questions(servers, speaking=speaking)
        if questions:
            await asyncio.wait(questions.values(), timeout=HEAD_START if self.notaries.names else None)
            _take_answers(questions, found, wanted)
        if self.notaries.names and (left := insufficient(wanted, found, self.clock())):
            improve(found, await self.notaries.find(left), left)
        slow = {server: question for server, question in questions.items() if not question.done()}
        if slow and insufficient(wanted, found, self.clock()):
            await asyncio.wait(slow.values())
            _take_answers(slow, found, wanted)
        if not self.notaries.names:
            self._remember_misses(wanted.keys() - found.keys(), questions)

    def _remember_misses(self, missing: Iterable[KeyName], questions: Mapping[str, Question]) -> None:
        """Keys that their servers do not publish. That a server does not answer is remembered with the server."""
        now = self.clock()
        for name in missing:
            question = questions.get(name[0])
            if question is not None and question.result() is not None:
                self.lookups.restraint.keys.add(name, now)


def _take_answers(questions: Mapping[str, Question], found: Found, wanted: Mapping[KeyName, int]) -> None:
    for question in questions.values():
        if question.done() and (published := question.result()) is not None:
            improve(found, by_name(published), wanted)


def _can_exist(name: KeyName) -> bool:
    """Could a server have published such a key? Signatures may bear any names."""
    server, key = name
    return key.startswith("ed25519:") and key != _POLICY_KEY and is_key_id(key) and is_server_name(server)
