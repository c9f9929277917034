"""Whose account it is that somebody has at a login service: one that is linked, one of the same name, or a new one."""

from collections.abc import Callable

from attrs import frozen

from homeserver.core.errors import MatrixError, forbidden
from homeserver.core.sso import localpart_of
from homeserver.services.auth_stages import PASSWORD
from homeserver.services.interactive_auth import Flows
from homeserver.services.logins import deactivated
from homeserver.services.now import Clock, now_ms
from homeserver.services.registration import SSO_LINK, NewAccount, Registration
from homeserver.services.sso.providers import Person
from storage import sso
from storage.accounts import Account, account_by_nid, find_account
from storage.database import Database

SSO = "m.login.sso"
MAX_NAME = 255  # characters of a display name that is taken over


@frozen(kw_only=True)
class Policy:
    """What the operator wants of a provider. `localpart` and `display_name` are names of attributes."""

    provider: str
    localpart: str
    display_name: str = ""
    existing_accounts: bool = False
    new_accounts: bool = True

    def known(self, person: Person) -> sso.Known:
        """Who it is there, with a name that they may recognize."""
        name = person.text(self.localpart) or person.text(self.display_name) or person.subject
        return sso.Known(provider=self.provider, subject=person.subject, name=name[:MAX_NAME])


@frozen
class SsoAccounts:
    """Finds or makes accounts. `check_name` refuses names that are not for people."""

    database: Database
    registration: Registration
    check_name: Callable[[str], None]
    clock: Clock = now_ms

    async def enter(self, policy: Policy, person: Person) -> Account:
        """The account of a person who has logged in. Raises M_FORBIDDEN, M_USER_DEACTIVATED."""
        account = await self._linked(policy.provider, person.subject)
        if account is None:
            account = await self._first(policy, person)
        if account.deactivated:
            raise deactivated()
        return account

    async def flows(self, user_id: str, flows: Flows) -> Flows:
        """How a user proves something again: as they log in. Only who has a password is asked for it."""
        if (PASSWORD,) not in flows:
            return flows
        async with self.database.read() as conn:
            account = await find_account(conn, (user_id,))
            known = await sso.links_of(conn, account.user_nid) if account is not None else []
        if account is None or not known:
            return flows
        kept = [flow for flow in flows if flow != (PASSWORD,) or account.password_hash is not None]
        return (*kept, (SSO,))

    async def _linked(self, provider: str, subject: str) -> Account | None:
        async with self.database.read() as conn:
            nid = await sso.linked(conn, provider, subject)
            return await account_by_nid(conn, nid) if nid is not None else None

    async def _first(self, policy: Policy, person: Person) -> Account:
        name = person.text(policy.localpart)
        if name is None:
            raise forbidden("The login service does not say what your user name is")
        localpart = localpart_of(name)
        user_id = self.registration.named(localpart)
        self.check_name(user_id)
        async with self.database.read() as conn:
            existing = await find_account(conn, (user_id,))
        if existing is not None:
            return await self._taken_up(policy, person, existing)
        if not policy.new_accounts:
            raise forbidden("There is no account for you on this server, and none are made by logging in")
        display_name = (person.text(policy.display_name) or "")[:MAX_NAME] or None
        new = NewAccount(localpart=localpart, display_name=display_name)
        return await self.registration.register(new, facts={SSO_LINK: policy.known(person)})

    async def _taken_up(self, policy: Policy, person: Person, existing: Account) -> Account:
        """Whoever may choose names at the provider could have any account here: so only if the operator says so."""
        ordinary = not existing.guest and existing.appservice_id is None and not existing.deactivated
        if not policy.existing_accounts or not ordinary:
            raise MatrixError(
                403, "M_FORBIDDEN", f"{existing.user_id} is an account here already, and not linked"
            )
        async with self.database.transaction() as conn:
            await sso.link(conn, policy.known(person), existing.user_nid, self.clock())
        return existing
