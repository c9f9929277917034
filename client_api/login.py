"""Client-Server API, "Login", "Logout" and "Refreshing access tokens"."""

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from homeserver.core.application_services import NO_SERVICES, ApplicationServices
from homeserver.core.errors import MatrixError, invalid_param
from homeserver.services.auth_stages import PASSWORD
from homeserver.services.interactive_auth import Ask, InteractiveAuth, JSONObject
from homeserver.services.logins import Logins
from homeserver.services.sessions import MAX_DEVICE_ID, DeviceWish, Sessions
from homeserver.web import fields
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.gate import access_token
from homeserver.web.reply import Result

APPLICATION_SERVICE = "m.login.application_service"
MAX_DISPLAY_NAME = 100  # characters of a device's name


@frozen
class LoginApi:
    """[cs "Login"], [cs "Refreshing access tokens"]"""

    logins: Logins
    sessions: Sessions
    interactive_auth: InteractiveAuth
    base_url: str = ""
    services: ApplicationServices = NO_SERVICES
    sign_on: Sequence[JSONObject] = ()  # flows of single sign-on

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", "/v3/login", self.flows, auth=Auth.NONE),
            Endpoint("POST", "/v3/login", self.login, auth=Auth.SERVICE_OR_NONE, rate="login"),
            Endpoint("POST", "/v1/login/get_token", self.get_token, empty_body=True, rate="other"),
            Endpoint(
                "POST", "/v3/refresh", self.refresh, auth=Auth.NONE, rate="other", also=("/v1/refresh",)
            ),
            Endpoint("POST", "/v3/logout", self.logout, auth=Auth.GUEST_OK, empty_body=True),
            Endpoint("POST", "/v3/logout/all", self.logout_all, auth=Auth.GUEST_OK, empty_body=True),
        ]

    async def flows(self, call: Call) -> Result:
        token = {"type": "m.login.token", "get_login_token": True}  # since v1.7
        others = [{"type": APPLICATION_SERVICE}] if self.services.all else []
        return {"flows": [{"type": "m.login.password"}, *self.sign_on, token, *others]}

    async def login(self, call: Call) -> Result:
        wish = device_wish(call.body)
        kind = call.field("type", str)
        if kind == "m.login.password":
            account = await self.logins.by_password(call.body)
        elif kind == "m.login.token":
            account = await self.logins.by_token(call.body.get("token"))
        elif kind == APPLICATION_SERVICE:
            service = self.services.by_token(access_token(call))
            account = await self.logins.by_service(
                call.body, lambda user_id: self.services.check_user(user_id, service.id)
            )
        else:
            raise MatrixError(400, "M_UNKNOWN", "Unknown login type")
        opened = await self.sessions.open(account, wish)
        answer: dict[str, Any] = {
            "user_id": account.user_id,
            "device_id": opened.device_id,
            "home_server": self.logins.server_name,
            **opened.grant.as_json(),
        }
        if self.base_url:
            answer["well_known"] = {"m.homeserver": {"base_url": self.base_url}}
        return answer

    async def get_token(self, call: Call) -> Result:
        """[cs "POST /login/get_token"]"""
        ask = Ask(
            purpose=f"get_token of {call.requester.user_id}",
            body=call.body,
            flows=((PASSWORD,),),
            user_id=call.requester.user_id,
        )
        await self.interactive_auth.pass_through(ask)
        token, lifetime = await self.logins.new_login_token(call.requester.user_nid)
        return {"login_token": token, "expires_in_ms": lifetime}

    async def refresh(self, call: Call) -> Result:
        return dict((await self.sessions.refresh(call.field("refresh_token", str))).grant.as_json())

    async def logout(self, call: Call) -> Result:
        device_id = call.requester.device_id
        if device_id is not None:
            await self.sessions.close(call.requester.user_nid, device_id)
        return {}

    async def logout_all(self, call: Call) -> Result:
        await self.sessions.close_all(call.requester.user_nid)
        return {}


def device_wish(body: JSONObject) -> DeviceWish:
    """What a body of /login or /register says about the client's device."""
    device_id = fields.optional(body, "device_id", str)
    if device_id is not None and len(device_id) > MAX_DEVICE_ID:
        raise invalid_param(f"device_id is longer than {MAX_DEVICE_ID} characters")
    name = fields.optional(body, "initial_device_display_name", str)
    return DeviceWish(
        device_id=device_id or None,
        display_name=None if name is None else checked_display_name(name),
        refresh=fields.optional(body, "refresh_token", bool, False),
    )


def checked_display_name(name: str) -> str:
    """A device's name, if it is not too long."""
    if len(name) > MAX_DISPLAY_NAME:
        raise MatrixError(400, "M_TOO_LARGE", f"A device's name has at most {MAX_DISPLAY_NAME} characters")
    return name
