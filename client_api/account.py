"""Client-Server API, "Password management", "Account deactivation" and "Current account information"."""

from attrs import frozen

from homeserver.core.errors import missing_param
from homeserver.services.account_changes import AccountChanges
from homeserver.services.addresses.accounts import AccountAddresses
from homeserver.services.addresses.stages import EMAIL_IDENTITY
from homeserver.services.auth_stages import PASSWORD
from homeserver.services.interactive_auth import Ask, InteractiveAuth, Passed
from homeserver.web import fields
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from storage.accounts import Account


@frozen
class AccountApi:
    """[cs "Password management"], [cs "Account deactivation"], [cs "Current account information"]"""

    changes: AccountChanges
    interactive_auth: InteractiveAuth
    addresses: AccountAddresses

    def endpoints(self) -> list[Endpoint]:
        path = "/v3/account"
        return [
            Endpoint("GET", f"{path}/whoami", self.whoami, auth=Auth.GUEST_OK),
            Endpoint(
                "POST", f"{path}/password", self.password, auth=Auth.OPTIONAL, rate="other", empty_body=True
            ),
            Endpoint(
                "POST",
                f"{path}/deactivate",
                self.deactivate,
                auth=Auth.OPTIONAL,
                rate="other",
                empty_body=True,
            ),
        ]

    async def whoami(self, call: Call) -> Result:
        requester = call.requester
        answer = {"user_id": requester.user_id, "is_guest": requester.is_guest}
        if requester.device_id is not None:
            answer["device_id"] = requester.device_id
        return answer

    async def password(self, call: Call) -> Result:
        new = call.optional("new_password", str)
        if new is not None:
            self.changes.hasher.check_strength(new)
        account, passed = await self._authenticated(
            call, "change the password", by_mail=EMAIL_IDENTITY in self.interactive_auth.stages
        )
        new = fields.optional(passed.request, "new_password", str)
        if new is None:
            raise missing_param("new_password")
        log_out = fields.optional(passed.request, "logout_devices", bool, True)  # since v1.1
        await self.changes.set_password(account.user_nid, new)
        if log_out:
            requester = call.requester_or_none
            keep = requester.device_nid if requester is not None else None
            await self.changes.log_others_out(account.user_nid, keep=keep)
        return {}

    async def deactivate(self, call: Call) -> Result:
        fields.optional(call.body, "erase", bool)
        requester = call.requester_or_none
        if requester is not None and requester.appservice is not None:
            # It manages its users, which have no passwords [as "Server admin style permissions"].
            account = await self.changes.account(requester.user_id)
            passed = Passed({}, call.body)
        else:
            account, passed = await self._authenticated(call, "deactivate")
        erase = fields.optional(passed.request, "erase", bool, False)
        unbound = await self.addresses.forget(account.user_nid, account.user_id)
        await self.changes.deactivate(account, erase=erase)
        return {"id_server_unbind_result": "success" if unbound else "no-support"}

    async def _authenticated(
        self, call: Call, purpose: str, *, by_mail: bool = False
    ) -> tuple[Account, Passed]:
        """Without a token the password, or a confirmed address, says whose account it is."""
        requester = call.requester_or_none
        user_id = requester.user_id if requester is not None else None
        ask = Ask(
            purpose=f"{purpose} of {user_id}",
            body=call.body,
            flows=((PASSWORD,), (EMAIL_IDENTITY,)) if by_mail else ((PASSWORD,),),
            user_id=user_id,
        )
        passed = await self.interactive_auth.pass_through(ask)
        return await self.changes.account(passed.facts["user_id"]), passed
