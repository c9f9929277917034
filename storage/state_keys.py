"""Numbers for (event type, state key) pairs, and so for users: a user's number is that of its membership's key.

Rows are never changed or deleted, so a cache of them needs no invalidation. A number is given out in a committed
statement of its own: a transaction that rolls back later leaves no number that does not exist.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from attrs import define, field

from homeserver.core.event import StateKey
from storage.database import Connection, Database

MAX_CACHED_KEYS = 200_000


def user_key(user_id: str) -> StateKey:
    """The state key whose number is the user's."""
    return ("m.room.member", user_id)


@define(eq=False)
class StateKeys:
    """The numbers that this process has met, least recently met ones forgotten first."""

    database: Database
    _nids: OrderedDict[StateKey, int] = field(factory=OrderedDict)
    _names: dict[int, StateKey] = field(factory=dict)

    def known(self, key: StateKey) -> int | None:
        """A key's number from memory only."""
        return self._nids.get(key)

    async def intern(self, keys: Iterable[StateKey]) -> dict[StateKey, int]:
        """The numbers of all `keys`, given now to those that had none."""
        wanted = set(keys)
        found = {key: self._nids[key] for key in wanted if key in self._nids}
        missing = sorted(wanted - found.keys())
        if missing:
            async with self.database.writer() as conn:
                found |= await self._insert(conn, missing)
        return found

    async def find(self, conn: Connection, keys: Iterable[StateKey]) -> dict[StateKey, int]:
        """The numbers of those `keys` that have one."""
        wanted = set(keys)
        found = {key: self._nids[key] for key in wanted if key in self._nids}
        missing = sorted(wanted - found.keys())
        return found | await self._select(conn, missing) if missing else found

    async def names(self, conn: Connection, nids: Iterable[int]) -> dict[int, StateKey]:
        """What the numbers stand for."""
        wanted = set(nids)
        known = {nid: self._names[nid] for nid in wanted if nid in self._names}
        missing = wanted - known.keys()
        if missing:
            rows = await conn.fetch(
                "SELECT key_nid, type, state_key FROM state_keys WHERE key_nid = ANY($1::int[])",
                list(missing),
            )
            found = {row[0]: (row[1], row[2]) for row in rows}
            self._remember({key: nid for nid, key in found.items()})
            known |= found
        return known

    async def user_nid(self, user_id: str) -> int:
        """The number of a user, of any server."""
        key = user_key(user_id)
        known = self._nids.get(key)
        return known if known is not None else (await self.intern([key]))[key]

    async def user_nids(self, user_ids: Iterable[str]) -> dict[str, int]:
        """The numbers of users, of any server."""
        nids = await self.intern(user_key(user_id) for user_id in user_ids)
        return {key[1]: nid for key, nid in nids.items()}

    async def user_ids(self, conn: Connection, nids: Iterable[int]) -> dict[int, str]:
        """The ids of users."""
        return {nid: key[1] for nid, key in (await self.names(conn, nids)).items()}

    async def _insert(self, conn: Connection, keys: Sequence[StateKey]) -> dict[StateKey, int]:
        rows = await conn.fetch(
            "INSERT INTO state_keys (type, state_key) SELECT * FROM unnest($1::text[], $2::text[])"
            " ON CONFLICT DO NOTHING RETURNING key_nid, type, state_key",
            [key[0] for key in keys],
            [key[1] for key in keys],
        )
        made = {(row[1], row[2]): row[0] for row in rows}
        self._remember(made)
        others = [key for key in keys if key not in made]
        return made | await self._select(conn, others) if others else made

    async def _select(self, conn: Connection, keys: Sequence[StateKey]) -> dict[StateKey, int]:
        rows = await conn.fetch(
            "SELECT key_nid, type, state_key FROM unnest($1::text[], $2::text[]) AS n(type, state_key)"
            " JOIN state_keys USING (type, state_key)",
            [key[0] for key in keys],
            [key[1] for key in keys],
        )
        found = {(row[1], row[2]): row[0] for row in rows}
        self._remember(found)
        return found

    def _remember(self, found: dict[StateKey, int]) -> None:
        for key, nid in found.items():
            self._nids[key] = nid
            self._names[nid] = key
        while len(self._nids) > MAX_CACHED_KEYS:
            _, nid = self._nids.popitem(last=False)
            self._names.pop(nid, None)
