"""What administrators do to accounts: lock, suspend, look who is on them [cs "Account moderation"]."""

from typing import Any

from attrs import frozen

from homeserver.core.errors import forbidden, invalid_param, not_found
from homeserver.core.ids import domain_of, is_user_id
from homeserver.services.access_tokens import AccessTokens
from storage.access_tokens import count_revocation
from storage.accounts import Account, find_account, set_locked, set_suspended
from storage.database import Database
from storage.devices import sightings_of


@frozen
class AccountModeration:
    """Reads and changes what an account may do."""

    database: Database
    access_tokens: AccessTokens
    server_name: str

    async def account(self, user_id: str) -> Account:
        """The account of a user who is no administrator. M_INVALID_PARAM, M_NOT_FOUND, M_FORBIDDEN."""
        account = await self._find(user_id)
        if account.admin:
            raise forbidden("Administrators cannot be locked or suspended")
        return account

    async def lock(self, user_id: str, *, locked: bool) -> None:
        """Shut a user out, without ending their sessions, or let them in again [cs "Account locking"]."""
        account = await self.account(user_id)
        async with self.database.transaction() as conn:
            await set_locked(conn, account.user_nid, locked=locked)
            await count_revocation(conn)
        self.access_tokens.forget()

    async def suspend(self, user_id: str, *, suspended: bool) -> None:
        """Let a user read only, or no longer so [cs "Account suspension"]."""
        account = await self.account(user_id)
        async with self.database.transaction() as conn:
            await set_suspended(conn, account.user_nid, suspended=suspended)
            await count_revocation(conn)
        self.access_tokens.forget()

    async def whois(self, user_id: str) -> dict[str, Any]:
        """An answer of /admin/whois: a user's devices, and from where they were last used."""
        account = await self._find(user_id)
        async with self.database.read() as conn:
            found = await sightings_of(conn, account.user_nid)
        devices = {
            device_id: {"sessions": [{"connections": [_connection(ts, ip, agent)] if ts else []}]}
            for device_id, ts, ip, agent in found
        }
        return {"user_id": account.user_id, "devices": devices}

    async def _find(self, user_id: str) -> Account:
        if not is_user_id(user_id) or domain_of(user_id) != self.server_name:
            raise invalid_param("This is no user of this server")
        async with self.database.read() as conn:
            account = await find_account(conn, [user_id])
        if account is None or account.deactivated:
            raise not_found("There is no such user, or no longer")
        return account


def _connection(ts: int, ip: str | None, agent: str | None) -> dict[str, Any]:
    told = {"ip": ip, "last_seen": ts, "user_agent": agent}
    return {name: value for name, value in told.items() if value is not None}
