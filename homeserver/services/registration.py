"""Making accounts [cs "Account registration"]: which names may be had, and who may have one."""

import secrets
import string
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from homeserver.core.errors import MatrixError, forbidden
from homeserver.core.ids import is_localpart, localpart_of
from homeserver.services.addresses.accounts import in_use
from homeserver.services.addresses.stages import EMAIL_IDENTITY, TERMS
from homeserver.services.auth_stages import DUMMY, REGISTRATION_TOKEN
from homeserver.services.now import Clock, now_ms
from homeserver.services.passwords import PasswordHasher
from storage import registration_tokens
from storage.access_tokens import count_revocation
from storage.accounts import Account, find_account, insert_account, upgrade_guest
from storage.addresses import Address, accept_terms, add_address
from storage.database import Connection, Database
from storage.profiles import set_field
from storage.sso import link
from storage.state_keys import StateKeys

SSO_LINK = "sso link"  # the fact whom a login service knows
_LETTERS = string.ascii_lowercase + string.digits


@frozen
class RegistrationRules:
    """What the operator allows."""

    open: bool = False
    tokens_required: bool = False
    guests: bool = False
    before: tuple[str, ...] = ()  # stages that everybody passes first: a captcha, the terms
    email: bool = False  # addresses can be confirmed
    email_required: bool = False

    @property
    def flows(self) -> tuple[tuple[str, ...], ...]:
        """The ways to an account; none if registration is closed."""
        if not self.open and not self.tokens_required:
            return ()
        stages = (*self.before, *((REGISTRATION_TOKEN,) if self.tokens_required else ()))
        with_email = ((*stages, EMAIL_IDENTITY),) if self.email else ()
        if self.email_required:
            return with_email
        # A flow that others begin with needs an end of its own [cs "Dummy Auth"].
        return ((*stages, DUMMY) if self.email or not stages else stages, *with_email)


@frozen(kw_only=True)
class NewAccount:
    """What an account begins with."""

    localpart: str | None
    password: str | None = None
    admin: bool = False
    guest: bool = False
    display_name: str | None = None  # None: the name in the id, but for application services' users
    user_type: str | None = None
    appservice_id: str | None = None


@frozen
class Registration:
    """Makes accounts."""

    database: Database
    state_keys: StateKeys
    hasher: PasswordHasher
    server_name: str
    rules: RegistrationRules = RegistrationRules()
    clock: Clock = now_ms

    async def user_id_for(self, name: str) -> str:
        """The id a new account of that name gets. Raises M_INVALID_USERNAME or M_USER_IN_USE."""
        user_id = self.named(name)
        async with self.database.read() as conn:
            taken = await find_account(conn, (user_id,))
        if taken is not None:
            raise _in_use()
        return user_id

    def named(self, name: str) -> str:
        """The id that goes with a name, taken or not. Raises M_INVALID_USERNAME."""
        localpart = lower_ascii(name)
        if not is_localpart(localpart, self.server_name):
            raise MatrixError(
                400,
                "M_INVALID_USERNAME",
                "User names have the characters a-z, 0-9 and ._=-/+ only, and must not be too long",
            )
        return f"@{localpart}:{self.server_name}"

    async def register(self, new: NewAccount, *, facts: Mapping[str, Any] | None = None) -> Account:
        """Make the account, with what the stages of authentication found out."""
        name = new.localpart if new.localpart is not None else _free_name()
        user_id = await self.user_id_for(name)
        hashed = await self.hasher.hash(new.password) if new.password is not None else None
        account = Account(
            user_nid=await self.state_keys.user_nid(user_id),
            user_id=user_id,
            password_hash=hashed,
            admin=new.admin,
            guest=new.guest,
            deactivated=False,
            locked=False,
            suspended=False,
            appservice_id=new.appservice_id,
            created_ts=self.clock(),
        )
        await self._store(account, new, facts or {})
        return account

    async def upgrade(
        self, user_id: str, password: str, *, facts: Mapping[str, Any] | None = None
    ) -> Account:
        """A guest gets a full account, with everything the guest has [cs "Guest Access"]."""
        hashed = await self.hasher.hash(password)
        async with self.database.transaction() as conn:
            account = await upgrade_guest(conn, user_id, hashed)
            if account is None:
                raise forbidden("Only guests can be upgraded")
            await self._take_facts(conn, account.user_nid, facts or {})
            await count_revocation(conn)  # what the guest's tokens mean has changed
        return account

    async def account(self, user_id: str) -> Account:
        """An account that was made before."""
        async with self.database.read() as conn:
            account = await find_account(conn, (user_id,))
        if account is None or account.deactivated:
            raise forbidden("This account has been deactivated")
        return account

    async def is_valid_token(self, token: str) -> bool:
        """Could somebody register with this token? [cs "Token-authenticated registration"]"""
        async with self.database.read() as conn:
            return await registration_tokens.is_valid(conn, token, self.clock())

    async def _store(self, account: Account, new: NewAccount, facts: Mapping[str, Any]) -> None:
        """All or nothing: of two who want the same name, address, or the last use of a token, one gets it."""
        async with self.database.transaction() as conn:
            if not await insert_account(conn, account, user_type=new.user_type):
                raise _in_use()
            await self._take_facts(conn, account.user_nid, facts)
            if (name := _shown_name(account, new)) is not None:
                await set_field(conn, account.user_nid, "displayname", name)

    async def _take_facts(self, conn: Connection, user_nid: int, facts: Mapping[str, Any]) -> None:
        """What the stages of authentication found out."""
        token, now = facts.get(REGISTRATION_TOKEN), self.clock()
        if token is not None and not await registration_tokens.use_token(conn, token, now):
            raise forbidden("This registration token cannot be used any more")
        if (proven := facts.get(EMAIL_IDENTITY)) is not None and not await add_address(
            conn, user_nid, Address(**proven, added_ts=now)
        ):
            raise in_use()
        if (version := facts.get(TERMS)) is not None:
            await accept_terms(conn, user_nid, version, now)
        known = facts.get(SSO_LINK)
        if known is not None and not await link(conn, known, user_nid, now):
            raise forbidden("The login service's user has another account already")


def lower_ascii(name: str) -> str:
    """Names differ by more than the case of their letters [appendices "User identifiers"]."""
    return name.lower() if name.isascii() else name


def _shown_name(account: Account, new: NewAccount) -> str | None:
    """People are shown by the name they chose, not by a whole id; application services name users themselves."""
    if new.display_name is not None or new.appservice_id is not None:
        return new.display_name
    return localpart_of(account.user_id)


def closed() -> MatrixError:
    """Registration is not open [cs "POST /register"]."""
    return forbidden("Registration is closed on this server")


def _in_use() -> MatrixError:
    return MatrixError(400, "M_USER_IN_USE", "This user name is taken")


def _free_name() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(16))
