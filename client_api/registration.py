"""Client-Server API, "Account registration"."""

from attrs import frozen

from client_api.login import APPLICATION_SERVICE, device_wish
from homeserver.core.application_services import NO_SERVICES, ApplicationServices
from homeserver.core.errors import MatrixError, forbidden, missing_param
from homeserver.services.addresses.stages import REGISTERING
from homeserver.services.interactive_auth import Ask, InteractiveAuth, JSONObject, Passed
from homeserver.services.registration import NewAccount, Registration, closed
from homeserver.services.sessions import Sessions
from homeserver.web import fields
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.gate import access_token
from homeserver.web.reply import Result
from storage.accounts import Account

_UNSTABLE_VALIDITY = (
    "/unstable/org.matrix.msc3231/register/org.matrix.msc3231.login.registration_token/validity"
)


@frozen
class RegistrationApi:
    """[cs "Account registration"], [cs "Token-authenticated registration"], [cs "Guest Access"]"""

    registration: Registration
    interactive_auth: InteractiveAuth
    sessions: Sessions
    services: ApplicationServices = NO_SERVICES

    def endpoints(self) -> list[Endpoint]:
        validity = "/v1/register/m.login.registration_token/validity"
        return [
            Endpoint("POST", "/v3/register", self.register, auth=Auth.SERVICE_OR_NONE, rate="registration"),
            Endpoint("GET", "/v3/register/available", self.available, auth=Auth.NONE, rate="registration"),
            Endpoint("GET", validity, self.token_validity, auth=Auth.NONE, rate="registration"),
        ]

    async def register(self, call: Call) -> Result:
        kind = call.query.string("kind", "user")
        if kind == "guest":
            return await self._register_guest(call)
        if kind != "user":
            raise MatrixError(400, "M_UNRECOGNIZED", "kind must be user or guest")
        if fields.optional(call.body, "type", str) == APPLICATION_SERVICE:
            return await self._register_for_service(call)
        if not self.registration.rules.flows:
            raise closed()
        self._check_shape(call.body)
        if (before := await self.interactive_auth.noted(REGISTERING, call.body)) is not None:
            # The client has not heard of its account, and asks again.
            return await self._answer(await self.registration.account(before["user_id"]), before["request"])
        name, guest = call.optional("username", str), await self._guest(call.body)
        if name is not None and guest is None:
            self.services.check_user(await self.registration.user_id_for(name))
        password = call.optional("password", str)
        if password is not None:
            self.registration.hasher.check_strength(password)
        ask = Ask(
            purpose=REGISTERING,
            body=call.body,
            flows=self.registration.rules.flows,
            client_ip=call.client_ip,
            remembered=True,
        )
        return await self._finish(await self.interactive_auth.pass_through(ask))

    async def available(self, call: Call) -> Result:
        if not self.registration.rules.flows:
            raise closed()
        self.services.check_user(await self.registration.user_id_for(call.query.string("username")))
        return {"available": True}

    async def token_validity(self, call: Call) -> Result:
        return {"valid": await self.registration.is_valid_token(call.query.string("token"))}

    async def _register_for_service(self, call: Call) -> Result:
        """Without a password and whatever is asked of people [as "Server admin style permissions"]."""
        service = self.services.by_token(access_token(call))
        self._check_shape(call.body)
        name = call.field("username", str)
        self.services.check_user(self.registration.named(name), service.id)
        account = await self.registration.register(NewAccount(localpart=name, appservice_id=service.id))
        return await self._answer(account, call.body)

    async def _register_guest(self, call: Call) -> Result:
        if not self.registration.rules.guests:
            raise MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "This server has no guests")
        account = await self.registration.register(NewAccount(localpart=None, guest=True))
        return await self._answer(account, {**call.body, "inhibit_login": False, "device_id": None})

    async def _guest(self, request: JSONObject) -> str | None:
        """The guest who wants a full account, by their token and name [cs "Guest Access"]."""
        token = fields.optional(request, "guest_access_token", str)
        if token is None:
            return None
        user_id = self.registration.named(fields.required(request, "username", str))
        try:
            session = await self.sessions.access_tokens.find(token)
        except MatrixError as cause:
            raise forbidden("The guest's access token is not known") from cause
        if not session.is_guest or session.user_id != user_id:
            raise forbidden("The access token is not that of a guest of this name")
        return user_id

    async def _finish(self, passed: Passed) -> Result:
        request = passed.request
        self._check_shape(request)
        password = fields.optional(request, "password", str)
        if password is None:
            raise missing_param("password")
        self.registration.hasher.check_strength(password)
        name, guest = fields.optional(request, "username", str), await self._guest(request)
        if guest is not None:
            account = await self.registration.upgrade(guest, password, facts=passed.facts)
            self.sessions.access_tokens.forget()
        else:
            if name is not None:
                self.services.check_user(self.registration.named(name))
            new = NewAccount(localpart=name, password=password)
            account = await self.registration.register(new, facts=passed.facts)
        kept = {key: value for key, value in request.items() if key not in ("password", "guest_access_token")}
        await self.interactive_auth.note(passed, {"user_id": account.user_id, "request": kept})
        return await self._answer(account, request)

    async def _answer(self, account: Account, request: JSONObject) -> Result:
        answer = {"user_id": account.user_id, "home_server": self.registration.server_name}
        if fields.optional(request, "inhibit_login", bool, False):
            return answer
        opened = await self.sessions.open(account, device_wish(request))
        return {**answer, "device_id": opened.device_id, **opened.grant.as_json()}

    def _check_shape(self, request: JSONObject) -> None:
        """Before any stage, so that nobody passes stages for a request that cannot be done."""
        fields.optional(request, "inhibit_login", bool)
        device_wish(request)
