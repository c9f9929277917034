"""What operators' tools ask of a running server: accounts made with proof of the shared secret.

The paths and the proof are those that existing tools, test suites and provisioning scripts use.
"""

import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from secrets import token_hex
from typing import Any

from attrs import define, field, frozen

from homeserver.core.errors import MatrixError, forbidden
from homeserver.services.registration import NewAccount, Registration
from homeserver.services.sessions import DeviceWish, Sessions
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result

_NONCE_LIFETIME = 60.0  # seconds
_MAX_NONCES = 1000
_MAX_TEXT = 512


@define(eq=False)
class Nonces:
    """Each proof is good for one account, and soon."""

    clock: Callable[[], float] = time.monotonic
    _given: OrderedDict[str, float] = field(factory=OrderedDict, init=False)

    def give(self) -> str:
        """A new nonce; the oldest ones are forgotten when there are too many."""
        nonce = token_hex(32)
        self._given[nonce] = self.clock()
        if len(self._given) > _MAX_NONCES:
            self._given.popitem(last=False)
        return nonce

    def spend(self, nonce: str) -> bool:
        """Was it given by us lately, and not been used?"""
        given = self._given.pop(nonce, None)
        return given is not None and self.clock() - given <= _NONCE_LIFETIME


@frozen
class SharedSecretRegistration:
    """GET and POST /_synapse/admin/v1/register."""

    registration: Registration
    sessions: Sessions
    secret: str = field(repr=False)
    nonces: Nonces = field(factory=Nonces)

    def endpoints(self) -> list[Endpoint]:
        path = "/_synapse/admin/v1/register"
        return [
            Endpoint("GET", path, self.nonce, auth=Auth.NONE, rate="other"),
            Endpoint("POST", path, self.register, auth=Auth.NONE, rate="other"),
        ]

    async def nonce(self, call: Call) -> Result:
        return {"nonce": self.nonces.give()}

    async def register(self, call: Call) -> Result:
        name, password = self._text(call, "username"), self._text(call, "password")
        admin = call.optional("admin", bool, False)
        user_type = call.optional("user_type", str)
        if not self.nonces.spend(call.field("nonce", str)):
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
