"""Who is logged in with a browser on our own pages: behind a cookie, for a short time."""

from attrs import frozen

from homeserver.services.logins import Logins
from homeserver.services.now import Clock, now_ms
from homeserver.services.secret_texts import hash_token, new_token
from storage import oauth as rows
from storage.accounts import Account, account_by_nid
from storage.database import Database

LIFETIME_MS = 3600 * 1000
FRESH_MS = 600_000


@frozen
class LoggedIn:
    """Somebody on our pages; `fresh`: they have proved lately to be it."""

    account: Account
    fresh: bool


@frozen
class WebSessions:
    """Logs people in and out."""

    database: Database
    logins: Logins
    clock: Clock = now_ms

    async def log_in(self, name: str, password: str) -> str:
        """The secret of a new session, for the cookie. Raises what a login raises."""
        body = {"identifier": {"type": "m.id.user", "user": name}, "password": password}
        return await self.open(await self.logins.by_password(body))

    async def open(self, account: Account) -> str:
        """The secret of a new session of whoever has proved to own the account."""
        token, now = new_token("homw"), self.clock()
        async with self.database.transaction() as conn:
            await rows.delete_expired(conn, now)
            await rows.open_web_session(conn, hash_token(token), account.user_nid, now + LIFETIME_MS)
        return token

    async def log_in_by_token(self, token: str) -> str:
        """The same, for who comes back from a login service. Raises M_FORBIDDEN."""
        return await self.open(await self.logins.by_token(token))

    async def find(self, token: str) -> LoggedIn | None:
        """Whose session it is."""
        if not token:
            return None
        now = self.clock()
        async with self.database.read() as conn:
            found = await rows.web_session(conn, hash_token(token), now)
            account = await account_by_nid(conn, found[0]) if found is not None else None
        if found is None or account is None or account.deactivated:
            return None
        return LoggedIn(account, fresh=found[1] - LIFETIME_MS + FRESH_MS > now)

    async def close(self, token: str) -> None:
        """Log out."""
        async with self.database.writer() as conn:
            await rows.close_web_session(conn, hash_token(token))
