"""Who may log in: by password, or by a token that another session of theirs asked for [cs "Login"]."""

from collections.abc import Callable
from typing import Any

from attrs import frozen

from homeserver.core.email_addresses import canonical_email
from homeserver.core.errors import MatrixError, forbidden, missing_param
from homeserver.services.auth_stages import user_id_of
from homeserver.services.interactive_auth import JSONObject
from homeserver.services.now import Clock, now_ms
from homeserver.services.passwords import PasswordCheck
from homeserver.services.secret_texts import hash_token, new_token
from storage.access_tokens import delete_expired, insert_short_lived_token, spend_short_lived_token
from storage.accounts import Account, account_by_nid, find_account
from storage.addresses import owner_of
from storage.database import Database

LOGIN_TOKEN_LIFETIME_MS = 120_000
_LOGIN_TOKEN = "m.login.token"


@frozen
class Logins:
    """Finds the account that a client proves to own."""

    database: Database
    passwords: PasswordCheck
    server_name: str
    clock: Clock = now_ms

    async def by_password(self, body: JSONObject) -> Account:
        """m.login.password; what is wrong is not told apart [cs "POST /login"]."""
        password = body.get("password")
        if not isinstance(password, str):
            raise missing_param("password")
        user_id = await self._user_of_address(body) or user_id_of(body, self.server_name)
        if user_id is None:
            raise missing_param("identifier")
        async with self.database.read() as conn:
            account = await find_account(conn, (user_id, user_id.lower()))
        if account is not None and account.deactivated:
            raise deactivated()
        if not await self.passwords.knows(account, password, tried=user_id.lower()):
            raise forbidden("Wrong user name or password")
        assert account is not None
        return account

    async def _user_of_address(self, body: JSONObject) -> str | None:
        """Whom an identifier of type m.id.thirdparty names [cs "Identifier types"]; None: it is of another type."""
        identifier: Any = body.get("identifier")
        if identifier is None and "medium" in body and "user" not in body:  # deprecated [cs "POST /login"]
            identifier = {**body, "type": "m.id.thirdparty"}
        if not isinstance(identifier, dict) or identifier.get("type") != "m.id.thirdparty":
            return None
        medium, address = identifier.get("medium"), identifier.get("address")
        if not isinstance(medium, str) or not isinstance(address, str):
            raise missing_param("identifier.medium and identifier.address")
        email = canonical_email(address) if medium == "email" else None
        owner = None
        if email is not None:
            async with self.database.read() as conn:
                owner = await owner_of(conn, medium, email)
        if owner is None:
            raise forbidden("Wrong address or password")
        return owner

    async def by_token(self, token: Any) -> Account:
        """m.login.token, once."""
        if not isinstance(token, str):
            raise missing_param("token")
        async with self.database.transaction() as conn:
            nid = await spend_short_lived_token(
                conn, hash_token(token), purpose=_LOGIN_TOKEN, now=self.clock()
            )
            account = await account_by_nid(conn, nid) if nid is not None else None
        if account is None or account.deactivated:
            raise forbidden("This login token is unknown, used or expired")
        return account

    async def by_service(self, body: JSONObject, check: Callable[[str], None]) -> Account:
        """A user of an application service's, which needs no password; `check` says whether it is one."""
        user_id = user_id_of(body, self.server_name)
        if user_id is None:
            raise missing_param("identifier")
        check(user_id)
        async with self.database.read() as conn:
            account = await find_account(conn, (user_id, user_id.lower()))
        if account is None:
            raise forbidden("There is no such user: register it first")
        if account.deactivated:
            raise deactivated()
        return account

    async def new_login_token(self, user_nid: int) -> tuple[str, int]:
        """A token that logs another client in, and the milliseconds that it lives."""
        token, now = new_token("homl"), self.clock()
        async with self.database.transaction() as conn:
            await delete_expired(conn, now)
            await insert_short_lived_token(
                conn,
                hash_token(token),
                purpose=_LOGIN_TOKEN,
                user_nid=user_nid,
                expires_ts=now + LOGIN_TOKEN_LIFETIME_MS,
            )
        return token, LOGIN_TOKEN_LIFETIME_MS


def deactivated() -> MatrixError:
    """[cs "POST /login"]"""
    return MatrixError(403, "M_USER_DEACTIVATED", "This account has been deactivated")
