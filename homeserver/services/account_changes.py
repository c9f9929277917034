"""Another password for an account, and its end [cs "Password management"], [cs "Account deactivation"]."""

from collections.abc import Awaitable, Callable

from attrs import frozen

from homeserver.services.passwords import PasswordHasher
from homeserver.services.sessions import Sessions
from storage.access_tokens import count_revocation
from storage.account_data import delete_account_data
from storage.accounts import Account, find_account, mark_deactivated, set_password_hash
from storage.database import Database
from storage.delayed_events import delete_of_user
from storage.e2e_keys import forget_user
from storage.oauth import close_web_sessions_of
from storage.profiles import delete_profile
from storage.thread_subscriptions import delete_subscriptions

LeaveAll = Callable[[str], Awaitable[None]]


async def in_no_room(user_id: str) -> None:
    """Where there are no rooms to leave."""


@frozen
class AccountChanges:
    """Changes accounts; `leave_all` takes a user out of all rooms."""

    database: Database
    hasher: PasswordHasher
    sessions: Sessions
    leave_all: LeaveAll = in_no_room

    async def account(self, user_id: str) -> Account:
        """The account of somebody who has proved to own it."""
        async with self.database.read() as conn:
            account = await find_account(conn, (user_id, user_id.lower()))
        assert account is not None, f"{user_id} has proved its password"
        return account

    async def set_password(self, user_nid: int, password: str) -> None:
        """Only the new one is good from now on."""
        self.hasher.check_strength(password)
        hashed = await self.hasher.hash(password)
        async with self.database.writer() as conn:
            await set_password_hash(conn, user_nid, hashed)
            await close_web_sessions_of(conn, user_nid)

    async def log_others_out(self, user_nid: int, *, keep: int | None) -> None:
        """End all sessions but the one that asked."""
        await self.sessions.close_all(user_nid, keep=keep)

    async def deactivate(self, account: Account, *, erase: bool) -> None:
        """Nobody can use the account, or its name, again. The rooms come first: a failure there can be repeated."""
        await self.leave_all(account.user_id)
        async with self.database.transaction() as conn:
            await mark_deactivated(conn, account.user_nid, erase=erase)
            await delete_account_data(conn, account.user_nid)
            await forget_user(conn, account.user_nid)
            await delete_of_user(conn, account.user_nid)
            await delete_subscriptions(conn, account.user_nid)
            if erase:
                await delete_profile(conn, account.user_nid)
            await count_revocation(conn)
        await self.sessions.close_all(account.user_nid)
