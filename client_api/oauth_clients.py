"""Client-Server API, "OAuth 2.0 API": what clients ask without a browser."""

from collections.abc import Awaitable
from typing import Any

from attrs import frozen

from homeserver.core.errors import unrecognized
from homeserver.core.oauth.clients import GRANT_TYPES
from homeserver.core.oauth.errors import OAuthError
from homeserver.services.oauth.clients import OAuthClients
from homeserver.services.oauth.device_codes import DeviceCodes
from homeserver.services.oauth.tokens import OAuthTokens
from homeserver.services.sessions import Sessions
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.pages import sent
from homeserver.web.reply import Reply, Result

ROOT = "/_matrix/homing"
AUTHORIZE, LINK, ACCOUNT = f"{ROOT}/oauth/authorize", f"{ROOT}/link", f"{ROOT}/account"
_TOKEN, _REVOKE = f"{ROOT}/oauth/token", f"{ROOT}/oauth/revoke"
_REGISTER, _DEVICE = f"{ROOT}/oauth/register", f"{ROOT}/oauth/device"
ACTIONS = (
    "org.matrix.profile",
    "org.matrix.devices_list",
    "org.matrix.device_view",
    "org.matrix.device_delete",
    "org.matrix.account_deactivate",
    "org.matrix.cross_signing_reset",
)
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


@frozen
class OAuthFacts:
    """Where we are (`base_url`, empty: OAuth is off), and whether people may make accounts on our pages."""

    base_url: str
    may_create: bool


@frozen
class OAuthApi:
    """[cs "Server metadata discovery"], [cs "Client registration"], [cs "Grant types"], [cs "Token revocation"]"""

    facts: OAuthFacts
    clients: OAuthClients
    tokens: OAuthTokens
    device_codes: DeviceCodes
    sessions: Sessions

    def endpoints(self) -> list[Endpoint]:
        metadata, unstable = "/v1/auth_metadata", "/unstable/org.matrix.msc2965/auth_metadata"
        return [
            Endpoint("GET", metadata, self.metadata, auth=Auth.NONE, also=(unstable,)),
            Endpoint("POST", _REGISTER, self.register, auth=Auth.NONE, rate="other"),
            Endpoint("POST", _TOKEN, self.token, auth=Auth.NONE, rate="other", stream=True),
            Endpoint("POST", _DEVICE, self.device, auth=Auth.NONE, rate="other", stream=True),
            Endpoint("POST", _REVOKE, self.revoke, auth=Auth.NONE, rate="other", stream=True),
        ]

    async def metadata(self, call: Call) -> Result:
        """[RFC 8414]"""
        base = self._base()
        told: dict[str, Any] = {
            "issuer": f"{base}/",
            "authorization_endpoint": base + AUTHORIZE,
            "token_endpoint": base + _TOKEN,
            "registration_endpoint": base + _REGISTER,
            "revocation_endpoint": base + _REVOKE,
            "device_authorization_endpoint": base + _DEVICE,
            "response_types_supported": ["code"],
            "response_modes_supported": ["query", "fragment"],
            "grant_types_supported": list(GRANT_TYPES),
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "revocation_endpoint_auth_methods_supported": ["none"],
            "authorization_response_iss_parameter_supported": True,  # [RFC 9207]
            "account_management_uri": base + ACCOUNT,
            "account_management_actions_supported": list(ACTIONS),
        }
        if self.facts.may_create:
            told["prompt_values_supported"] = ["create"]
        return Reply(200, told, {"Cache-Control": "public, max-age=600"})

    async def register(self, call: Call) -> Result:
        self._base()
        return await _told(self._register(call), 201)

    async def token(self, call: Call) -> Result:
        self._base()
        return await _told(self.tokens.grant(await sent(call)))

    async def device(self, call: Call) -> Result:
        self._base()
        return await _told(self._device(await sent(call)))

    async def revoke(self, call: Call) -> Result:
        """The device that a token is of is logged out, whoever brings the token."""
        self._base()
        await self.sessions.revoke((await sent(call)).get("token", ""))
        return Reply(200, {}, _NO_STORE)

    async def _register(self, call: Call) -> dict[str, Any]:
        return (await self.clients.register(call.body)).as_json()

    async def _device(self, asked: dict[str, str]) -> dict[str, Any]:
        client = await self.clients.find(asked.get("client_id", ""))
        return await self.device_codes.begin(client, asked.get("scope", ""))

    def _base(self) -> str:
        if not self.facts.base_url:
            raise unrecognized("This server has no OAuth 2.0 API")
        return self.facts.base_url


async def _told(answer: Awaitable[dict[str, Any]], status: int = 200) -> Reply:
    """The answer, or the refusal as OAuth has it [RFC 6749 section 5.2]."""
    try:
        return Reply(status, await answer, _NO_STORE)
    except OAuthError as refusal:
        told = {"error": refusal.code, "error_description": refusal.description}
        return Reply(401 if refusal.code == "invalid_client" else 400, told, _NO_STORE)
