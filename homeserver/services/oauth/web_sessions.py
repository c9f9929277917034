"""Who is logged in with a browser on our own pages: behind a cookie, for a short time."""

from attrs import frozen

from homeserver.services.logins import Logins
from homeserver.services.now import Clock, now_ms
from homeserver.services.secret_texts import hash_token, new_token
from storage import oauth as rows
from storage.accounts import Account, account_by_nid
from storage.database import Database

LIFETIME_MS = 3600 * 1000


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

    async def account(self, token: str) -> Account | None:
        """Whose session it is."""
        if not token:
            return None
        async with self.database.read() as conn:
            nid = await rows.web_session_user(conn, hash_token(token), self.clock())
            account = await account_by_nid(conn, nid) if nid is not None else None
        return None if account is None or account.deactivated else account

    async def close(self, token: str) -> None:
        """Log out."""
        async with self.database.writer() as conn:
            await rows.close_web_session(conn, hash_token(token))
