"""The stages of user-interactive authentication that this server knows [cs "Authentication types"]."""

from typing import Any

from attrs import frozen

from homeserver.core.errors import MatrixError, bad_json, forbidden, missing_param
from homeserver.core.ids import is_user_id
from homeserver.services.interactive_auth import AnotherUser, Ask, JSONObject
from homeserver.services.now import Clock, now_ms
from homeserver.services.passwords import PasswordCheck
from storage import registration_tokens
from storage.accounts import find_account
from storage.database import Database

DUMMY = "m.login.dummy"
PASSWORD = "m.login.password"
REGISTRATION_TOKEN = "m.login.registration_token"
_ADDRESSES = ("m.id.thirdparty", "m.id.phone")  # this server keeps none


@frozen
class DummyStage:
    """[cs "Dummy Auth"]: no proof at all; tells apart a flow that is part of another one."""

    type: str = DUMMY

    def params(self) -> JSONObject:
        return {}

    async def complete(self, auth: JSONObject, ask: Ask) -> JSONObject:
        """Always."""
        return {}


@frozen
class PasswordStage:
    """[cs "Password-based"]: the account's password once more, as proof that its owner sits there."""

    database: Database
    passwords: PasswordCheck
    server_name: str
    type: str = PASSWORD

    def params(self) -> JSONObject:
        return {}

    async def complete(self, auth: JSONObject, ask: Ask) -> JSONObject:
        """The user must be the one who asks, if that is known."""
        password = auth.get("password")
        if not isinstance(password, str):
            raise missing_param("password")
        named = user_id_of(auth, self.server_name)
        user_id = named or ask.user_id
        if user_id is None:
            raise missing_param("identifier")
        if ask.user_id is not None and user_id.lower() != ask.user_id.lower():
            raise AnotherUser(403, "M_FORBIDDEN", "The password must be that of the account that asks")
        user_id = ask.user_id or user_id
        async with self.database.read() as conn:
            account = await find_account(conn, (user_id, user_id.lower()))
        if not await self.passwords.knows(account, password, tried=user_id):
            raise forbidden("Wrong password")
        return {"user_id": user_id}


@frozen
class RegistrationTokenStage:
    """[cs "Token-authenticated registration"]. The token is counted when the account is made."""

    database: Database
    clock: Clock = now_ms
    type: str = REGISTRATION_TOKEN

    def params(self) -> JSONObject:
        return {}

    async def complete(self, auth: JSONObject, ask: Ask) -> JSONObject:
        """The token must be one that may still be used."""
        token = auth.get("token")
        if not isinstance(token, str):
            raise missing_param("token")
        async with self.database.read() as conn:
            if "\0" in token or not await registration_tokens.is_valid(conn, token, self.clock()):
                raise MatrixError(401, "M_UNAUTHORIZED", "This registration token cannot be used")
        return {REGISTRATION_TOKEN: token}


def user_id_of(values: JSONObject, server_name: str) -> str | None:
    """Whom an `identifier` (or the deprecated `user`) names: a user id of this server [cs "Identifier types"].

    Raises M_BAD_JSON, M_UNKNOWN for identifiers of no known type, M_FORBIDDEN for users who cannot be ours.
    """
    identifier: Any = values.get("identifier")
    if identifier is None:
        user = values.get("user")
    elif not isinstance(identifier, dict):
        raise bad_json("identifier must be an object")
    elif identifier.get("type") in _ADDRESSES:
        raise forbidden("No user of this server has this address")
    elif identifier.get("type") != "m.id.user":
        raise MatrixError(400, "M_UNKNOWN", "Unknown type of identifier")
    else:
        user = identifier.get("user")
        if user is None:
            raise missing_param("identifier.user")
    if user is None:
        return None
    if not isinstance(user, str):
        raise bad_json("user must be a string")
    return _full_user_id(user, server_name)


def _full_user_id(user: str, server_name: str) -> str:
    user_id = user if user.startswith("@") else f"@{user}:{server_name}"
    if not is_user_id(user_id) or user_id.partition(":")[2] != server_name:
        raise forbidden("There is no such user on this server")
    return user_id
