"""From an access token to whom it speaks for, without a query for each request.

What a token means is remembered in this process. Whoever ends a token or changes what an account may do raises
`revocations` in the same transaction; a process looks at that number at most every few seconds, and forgets all
it remembers when it has moved. In the process that did it, `forget` is immediate.
"""

import time
from collections import OrderedDict
from collections.abc import Iterable

from attrs import define, field, frozen

from homeserver.core.errors import MatrixError, forbidden, unknown_token
from homeserver.services.now import Clock, now_ms
from homeserver.services.secret_texts import hash_token
from storage.access_tokens import (
    TokenRow,
    count_revocation,
    delete_predecessors,
    find_access_token,
    find_session,
    refresh_of,
    revocations,
)
from storage.database import Database

MAX_REMEMBERED = 50_000
LOOK_EVERY = 5.0  # seconds: how long another process may honor a token that has ended here


@frozen(kw_only=True)
class Session:
    """Whom a token speaks for."""

    user_id: str
    user_nid: int
    device_id: str | None
    device_nid: int | None
    is_guest: bool
    is_admin: bool
    locked: bool
    suspended: bool
    expires_ts: int | None


@define(eq=False)
class AccessTokens:
    """The sessions that this process has met lately."""

    database: Database
    clock: Clock = now_ms
    _sessions: OrderedDict[bytes | tuple[str, str | None], Session] = field(factory=OrderedDict, init=False)
    _revocations: int = field(default=-1, init=False)
    _looked: float = field(default=-LOOK_EVERY, init=False)
    _generation: int = field(default=0, init=False)

    async def find(self, token: str) -> Session:
        """Whom the token speaks for; raises M_UNKNOWN_TOKEN."""
        if time.monotonic() - self._looked >= LOOK_EVERY:
            await self._look()
        key = hash_token(token)
        session = self._sessions.get(key)
        if session is None:
            session = await self._load(key)
        if session.expires_ts is not None and session.expires_ts <= self.clock():
            raise unknown_token("The access token has expired", soft_logout=True)
        return session

    async def of_user(self, user_id: str, device_id: str | None) -> Session:
        """The account, and maybe the device, that an application service speaks for [as "Identity assertion"]."""
        if time.monotonic() - self._looked >= LOOK_EVERY:
            await self._look()
        session = self._sessions.get((user_id, device_id))
        if session is not None:
            return session
        generation = self._generation
        async with self.database.read() as conn:
            row = await find_session(conn, user_id, device_id)
        if row is None:
            raise forbidden("This user is not registered, or deactivated")
        if device_id is not None and row.device_nid is None:
            raise MatrixError(400, "M_UNKNOWN_DEVICE", "The user has no such device")
        session = _session(row)
        self._remember((user_id, device_id), session, generation)
        return session

    def forget(self) -> None:
        """Something that may be remembered here has changed in the database."""
        self._generation += 1
        self._sessions.clear()

    def drop(self, token_hashes: Iterable[bytes], count: int) -> None:
        """These tokens have ended, and nothing else; `count` is that of the revocation."""
        self._generation += 1
        for token_hash in token_hashes:
            self._sessions.pop(token_hash, None)
        if count == self._revocations + 1:  # else another process has revoked something, too
            self._revocations = count

    async def _look(self) -> None:
        self._looked = time.monotonic()  # those who come meanwhile go on with what is remembered
        async with self.database.read() as conn:
            count = await revocations(conn)
        if count != self._revocations:
            self._revocations = count
            self.forget()

    async def _load(self, key: bytes) -> Session:
        generation = self._generation
        async with self.database.read() as conn:
            row = await find_access_token(conn, key)
        if row is None:
            raise unknown_token("Unknown access token")
        if row.refreshed:
            await self._end_predecessor(key)
        session = _session(row)
        self._remember(key, session, generation)
        return session

    def _remember(self, key: bytes | tuple[str, str | None], session: Session, generation: int) -> None:
        """Unless something has changed since it was read."""
        if generation == self._generation:
            self._sessions[key] = session
            if len(self._sessions) > MAX_REMEMBERED:
                self._sessions.popitem(last=False)

    async def _end_predecessor(self, key: bytes) -> None:
        """The token is used for the first time: what it was refreshed from ends [cs "Refreshing access tokens"]."""
        async with self.database.transaction() as conn:
            refresh_nid = await refresh_of(conn, key)
            ended = [] if refresh_nid is None else await delete_predecessors(conn, refresh_nid)
            count = await count_revocation(conn) if ended else 0
        if ended:
            self.drop(ended, count)


def _session(row: TokenRow) -> Session:
    return Session(
        user_id=row.user_id,
        user_nid=row.user_nid,
        device_id=row.device_id,
        device_nid=row.device_nid,
        is_guest=row.guest,
        is_admin=row.admin,
        locked=row.locked,
        suspended=row.suspended,
        expires_ts=row.expires_ts,
    )
