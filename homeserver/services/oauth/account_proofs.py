"""What people confirm on our own pages, with their password: also that their cross-signing keys may be replaced."""

import hashlib

from attrs import frozen

from homeserver.core.errors import forbidden
from homeserver.services.interactive_auth import Ask, JSONObject
from homeserver.services.now import Clock, now_ms
from homeserver.services.passwords import PasswordCheck
from storage import access_tokens as tokens
from storage.accounts import Account
from storage.database import Database
from storage.devices import oauth_client_of

RESET_LIFETIME_MS = 600_000
OAUTH = "m.oauth"
OLD_OAUTH = "org.matrix.cross_signing_reset"  # [MSC4312] before v1.17
_RESET = "cross-signing reset"


@frozen
class AccountProofs:
    """Asks for proof, and remembers what was confirmed until it is used, ten minutes at most."""

    database: Database
    passwords: PasswordCheck
    clock: Clock = now_ms

    async def require(self, account: Account, password: str, *, fresh: bool) -> None:
        """Only the owner knows the password, or has just logged in where there is none. Raises M_FORBIDDEN."""
        if account.password_hash is None:
            if not fresh:
                raise forbidden(
                    "Please log out of this page and in again first, so that we know that it is you"
                )
            return
        if not await self.passwords.knows(account, password, tried=account.user_id):
            raise forbidden("This is not the password")

    async def allow_reset(self, user_nid: int) -> None:
        """The next upload of cross-signing keys needs no further proof [cs "OAuth authentication"]."""
        now, token = self.clock(), _reset_of(user_nid)
        async with self.database.transaction() as conn:
            await tokens.spend_short_lived_token(conn, token, purpose=_RESET, now=now)
            await tokens.insert_short_lived_token(
                conn, token, purpose=_RESET, user_nid=user_nid, expires_ts=now + RESET_LIFETIME_MS
            )

    async def spend_reset(self, user_nid: int) -> bool:
        """Has the user allowed it, and was this not made use of yet?"""
        async with self.database.transaction() as conn:
            spent = await tokens.spend_short_lived_token(
                conn, _reset_of(user_nid), purpose=_RESET, now=self.clock()
            )
        return spent is not None

    async def is_oauth(self, device_nid: int | None) -> bool:
        """Has OAuth made this session? Then its client cannot ask for a password."""
        if device_nid is None:
            return False
        async with self.database.read() as conn:
            return await oauth_client_of(conn, device_nid) is not None


@frozen
class ConfirmedElsewhere:
    """The stage m.oauth: people confirm on the page at `url` [cs "OAuth authentication"]."""

    url: str
    type: str = OAUTH

    def params(self) -> JSONObject:
        return {"url": self.url}

    async def complete(self, auth: JSONObject, ask: Ask) -> JSONObject:
        """Never by what a client sends."""
        raise forbidden("Please confirm this in your browser first")


def _reset_of(user_nid: int) -> bytes:
    """One row for each user, under a hash that no token has: it proves nothing to anybody who asks with it."""
    return hashlib.sha256(f"{_RESET} of {user_nid}".encode()).digest()
