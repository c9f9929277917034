"""What operators' tools ask of a running server: accounts made with proof of the shared secret.

The paths and the proof are those that existing tools, test suites and provisioning scripts use.
"""

import hashlib
import hmac
from secrets import token_hex
from typing import Any

from attrs import field, frozen

from homeserver.core.errors import MatrixError, forbidden
from homeserver.services.now import Clock, now_ms
from homeserver.services.registration import NewAccount, Registration
from homeserver.services.secret_texts import hash_token
from homeserver.services.sessions import DeviceWish, Sessions
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from storage.access_tokens import delete_expired, insert_short_lived_token, spend_short_lived_token
from storage.database import Database

_NONCE_LIFETIME_MS = 60_000
_PURPOSE = "registration nonce"
_NOBODY = 0  # a nonce is given to whoever asks
_MAX_TEXT = 512


@frozen
class Nonces:
    """Each proof is good for one account, and soon, in whichever process it is asked for."""

    database: Database
    clock: Clock = now_ms

    async def give(self) -> str:
        """A new nonce."""
        nonce, now = token_hex(32), self.clock()
        async with self.database.transaction() as conn:
            await delete_expired(conn, now)
            await insert_short_lived_token(
                conn,
                hash_token(nonce),
                purpose=_PURPOSE,
                user_nid=_NOBODY,
                expires_ts=now + _NONCE_LIFETIME_MS,
            )
        return nonce

    async def spend(self, nonce: str) -> bool:
        """Was it given by us lately, and not been used?"""
        async with self.database.writer() as conn:
            spent = await spend_short_lived_token(conn, hash_token(nonce), purpose=_PURPOSE, now=self.clock())
        return spent is not None


@frozen
class SharedSecretRegistration:
    """GET and POST /_synapse/admin/v1/register."""

    registration: Registration
    sessions: Sessions
    nonces: Nonces
    secret: str = field(repr=False)

    def endpoints(self) -> list[Endpoint]:
        path = "/_synapse/admin/v1/register"
        return [
            Endpoint("GET", path, self.nonce, auth=Auth.NONE, rate="other"),
            Endpoint("POST", path, self.register, auth=Auth.NONE, rate="other"),
        ]

    async def nonce(self, call: Call) -> Result:
        return {"nonce": await self.nonces.give()}

    async def register(self, call: Call) -> Result:
        name, password = self._text(call, "username"), self._text(call, "password")
        admin = call.optional("admin", bool, False)
        user_type = call.optional("user_type", str)
        if not await self.nonces.spend(call.field("nonce", str)):
            raise MatrixError(400, "M_UNKNOWN", "Unknown or expired nonce")
        if not hmac.compare_digest(self._mac(call.body).encode(), call.field("mac", str).encode()):
            raise forbidden("The HMAC is wrong")
        account = await self.registration.register(
            NewAccount(
                localpart=name,
                password=password,
                admin=admin,
                display_name=call.optional("displayname", str),
                user_type=user_type,
            )
        )
        answer: dict[str, Any] = {"user_id": account.user_id, "home_server": self.registration.server_name}
        if call.optional("inhibit_login", bool, False):
            return answer
        opened = await self.sessions.open(account, DeviceWish())
        return {**answer, "device_id": opened.device_id, **opened.grant.as_json()}

    def _text(self, call: Call, name: str) -> str:
        text = call.field(name, str)
        if not text or len(text) > _MAX_TEXT:
            raise MatrixError(400, "M_INVALID_PARAM", f"{name} must have 1 to {_MAX_TEXT} characters")
        return text

    def _mac(self, body: dict[str, Any]) -> str:
        parts = [body["nonce"], body["username"], body["password"]]
        parts.append("admin" if body.get("admin") else "notadmin")
        if body.get("user_type"):
            parts.append(body["user_type"])
        return hmac.new(self.secret.encode(), "\0".join(parts).encode(), hashlib.sha1).hexdigest()
