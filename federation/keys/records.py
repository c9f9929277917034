"""Other servers' keys as we know them: in memory, and behind it in the database, where nothing is forgotten."""

from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial

from attrs import field, frozen
from signedjson.key import decode_verify_key_bytes

from federation.keys.memory import HeldKey, KeyMemory
from federation.protocol.key_responses import PublishedKeys, check, to_pass_on
from homeserver.core import canonical_json
from homeserver.core.receipt_checks import ServerKey
from homeserver.services.now import Clock, now_ms
from storage import server_keys
from storage.database import Connection, Database
from storage.server_keys import HeardKeys, KeyName, StoredAnswer, StoredKey

Found = dict[KeyName, ServerKey]


@frozen
class KeyRecords:
    """What is known is stored first, then remembered."""

    database: Database
    memory: KeyMemory = field(factory=KeyMemory)
    clock: Clock = now_ms

    async def stored(self, wanted: Collection[KeyName]) -> dict[KeyName, HeldKey]:
        """Those of the keys that the database has, and others of their servers; in memory afterwards."""
        async with self.database.read() as conn:
            rows = await server_keys.find(conn, wanted)
        return {name: self.memory.learn(name, _held(name, row)) for name, row in rows.items()}

    async def newest(self, server: str) -> PublishedKeys | None:
        """The last answer of a server."""
        async with self.database.read() as conn:
            stored = await server_keys.newest_answers(conn, [server])
        for one in stored:
            return check(canonical_json.decode(one.answer), server, one.fetched_ts)
        return None

    async def keep(self, heard: Sequence[PublishedKeys], *, direct: bool) -> None:
        """Take over what servers have published; `direct` where they said it to us themselves."""
        now = self.clock()
        for turn, some in enumerate(
            _one_a_server(heard)
        ):  # answers of a server are told apart by their times
            rows = [_to_store(published, now + turn, direct) for published in some]
            await self.database.retrying(partial(_put, rows))
        for published in heard:
            for name, key in by_name(published).items():
                self.memory.learn(name, HeldKey(key, now, direct))


def by_name(published: PublishedKeys) -> Found:
    """The keys of an answer by server name and key id."""
    return {(published.server_name, key_id): key for key_id, key in published.keys.items()}


async def _put(rows: Sequence[HeardKeys], conn: Connection) -> None:
    await server_keys.put(conn, rows)


def _held(name: KeyName, row: StoredKey) -> HeldKey:
    key = decode_verify_key_bytes(name[1], row.public)
    return HeldKey(ServerKey(key, row.valid_until_ts, row.retired), row.fetched_ts)


def _to_store(published: PublishedKeys, now: int, direct: bool) -> HeardKeys:
    said = StoredAnswer(published.server_name, now, published.valid_until_ts, to_pass_on(published))
    keys = [
        (key_id, known.key.encode(), known.valid_until_ts, known.retired)
        for key_id, known in published.keys.items()
    ]
    return HeardKeys(said, keys, direct)


def _one_a_server(heard: Sequence[PublishedKeys]) -> list[list[PublishedKeys]]:
    """The answers in rounds without two of the same server: a notary may send several."""
    rounds: list[list[PublishedKeys]] = []
    seen: Counter[str] = Counter()
    for published in heard:
        turn = seen[published.server_name]
        seen[published.server_name] += 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(published)
    return rounds
