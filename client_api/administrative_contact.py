"""Client-Server API, "Adding Account Administrative Contact Information"."""

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import frozen

from federation.address_bindings import AddressBindings, Secrets
from homeserver.core.errors import MatrixError, invalid_param, missing_param
from homeserver.services.addresses.accounts import AccountAddresses
from homeserver.services.addresses.validation import ADD, REGISTER, RESET, AddressValidation, Request
from homeserver.services.auth_stages import PASSWORD
from homeserver.services.interactive_auth import Ask, InteractiveAuth
from homeserver.web import fields
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result

MEDIA = ("email", "msisdn")
_NO_PHONES = MatrixError(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED", "This server confirms no phone numbers")


@frozen
class AdministrativeContactApi:
    """[cs "Adding Account Administrative Contact Information"]"""

    addresses: AccountAddresses
    validation: AddressValidation
    bindings: AddressBindings
    interactive_auth: InteractiveAuth

    def endpoints(self) -> list[Endpoint]:
        path, rate = "/v3/account/3pid", "other"
        endpoints = [
            Endpoint("GET", path, self.all),
            Endpoint("POST", path, self.add_deprecated, rate=rate),
            Endpoint("POST", f"{path}/add", self.add, rate=rate, also=_before(f"{path}/add")),
            Endpoint("POST", f"{path}/bind", self.bind, rate=rate, also=_before(f"{path}/bind")),
            Endpoint("POST", f"{path}/delete", self.remove, rate=rate, suspended=False),
            Endpoint(
                "POST",
                f"{path}/unbind",
                self.unbind,
                rate=rate,
                suspended=False,
                also=_before(f"{path}/unbind"),
            ),
        ]
        for place, purpose in (("account/3pid", ADD), ("account/password", RESET), ("register", REGISTER)):
            mails, texts = f"/v3/{place}/email/requestToken", f"/v3/{place}/msisdn/requestToken"
            ask = self._asking(purpose)
            endpoints += [
                Endpoint("POST", mails, ask, auth=Auth.NONE, rate="registration"),
                Endpoint("POST", texts, self.no_phones, auth=Auth.NONE, rate="registration"),
            ]
        return endpoints

    async def all(self, call: Call) -> Result:
        return {"threepids": await self.addresses.all(call.requester.user_nid)}

    async def add(self, call: Call) -> Result:
        call.field("sid", str)
        call.field("client_secret", str)
        requester = call.requester
        ask = Ask(
            purpose=f"add an address to {requester.user_id}",
            body=call.body,
            flows=((PASSWORD,),),
            user_id=requester.user_id,
        )
        passed = await self.interactive_auth.pass_through(ask)
        await self.addresses.add(requester.user_nid, passed.request)
        return {}

    async def add_deprecated(self, call: Call) -> Result:
        """Without a password, as it was until r0.6."""
        given: Any = call.body.get("three_pid_creds", call.body.get("threePidCreds"))
        if not isinstance(given, dict):
            raise missing_param("three_pid_creds")
        try:
            await self.addresses.add(call.requester.user_nid, given)
        except MatrixError as refusal:
            if refusal.errcode != "M_THREEPID_AUTH_FAILED":
                raise
            raise MatrixError(403, refusal.errcode, refusal.message) from refusal
        return {}

    async def bind(self, call: Call) -> Result:
        secrets = Secrets(
            call.field("sid", str), call.field("client_secret", str), call.field("id_access_token", str)
        )
        requester = call.requester
        await self.bindings.bind(requester.user_nid, requester.user_id, call.field("id_server", str), secrets)
        return {}

    async def remove(self, call: Call) -> Result:
        medium, address = _named(call)
        requester, server = call.requester, call.optional("id_server", str)
        done = await self.addresses.remove(
            requester.user_nid, requester.user_id, medium=medium, address=address, server=server
        )
        return {"id_server_unbind_result": "success" if done else "no-support"}

    async def unbind(self, call: Call) -> Result:
        medium, address = _named(call)
        requester, server = call.requester, call.optional("id_server", str)
        done = await self.addresses.take_back(
            requester.user_nid, requester.user_id, medium=medium, address=address, server=server
        )
        return {"id_server_unbind_result": "success" if done else "no-support"}

    async def no_phones(self, call: Call) -> Result:
        raise MatrixError(_NO_PHONES.status, _NO_PHONES.errcode, _NO_PHONES.message)

    def _asking(self, purpose: str) -> Callable[[Call], Awaitable[Result]]:
        async def ask(call: Call) -> Result:
            request = Request(
                purpose,
                fields.required(call.body, "email", str),
                fields.required(call.body, "client_secret", str),
                fields.required(call.body, "send_attempt", int),
                fields.optional(call.body, "next_link", str),
            )
            return {"sid": await self.validation.ask(request)}

        return ask


def _before(path: str) -> tuple[str, ...]:
    """Where clients found it before r0.6 [MSC2140], [MSC2290]."""
    return (path.replace("/v3/", "/unstable/"),)


def _named(call: Call) -> tuple[str, str]:
    """Medium and address."""
    medium = call.field("medium", str)
    if medium not in MEDIA:
        raise invalid_param(f"medium must be one of: {', '.join(MEDIA)}")
    return medium, call.field("address", str)
