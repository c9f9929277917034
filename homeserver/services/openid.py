"""Tokens by which a user proves to a third party who they are [cs "OpenID"]."""

from attrs import frozen

from homeserver.services.now import Clock, now_ms
from homeserver.services.secret_texts import hash_token, new_token
from storage.access_tokens import delete_expired, insert_short_lived_token, read_short_lived_token
from storage.accounts import account_by_nid
from storage.database import Database

LIFETIME_MS = 3_600_000
_PURPOSE = "openid"


@frozen
class OpenID:
    """Makes tokens, and tells whose they are."""

    database: Database
    clock: Clock = now_ms

    async def new_token(self, user_nid: int) -> tuple[str, int]:
        """A token, and the seconds that it lives."""
        token, now = new_token("homo"), self.clock()
        async with self.database.transaction() as conn:
            await delete_expired(conn, now)
            await insert_short_lived_token(
                conn, hash_token(token), purpose=_PURPOSE, user_nid=user_nid, expires_ts=now + LIFETIME_MS
            )
        return token, LIFETIME_MS // 1000

    async def user_id(self, token: str) -> str | None:
        """Whose token it is: what a third party asks through federation [ss "OpenID"]."""
        async with self.database.read() as conn:
            nid = await read_short_lived_token(conn, hash_token(token), purpose=_PURPOSE, now=self.clock())
            account = await account_by_nid(conn, nid) if nid is not None else None
        return account.user_id if account is not None and not account.deactivated else None
