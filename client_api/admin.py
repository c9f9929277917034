"""Client-Server API, "Server Administration"."""

from attrs import frozen

from homeserver.core.errors import forbidden
from homeserver.services.account_moderation import AccountModeration
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result


@frozen
class AdminApi:
    """[cs "Server Administration"]. That somebody may ask is checked before anything is looked up."""

    moderation: AccountModeration

    def endpoints(self) -> list[Endpoint]:
        admin = Auth.ADMIN
        # COMPAT(clients before v1.18): the unstable names [MSC4323]
        lock, suspend = "/v1/admin/lock/{userId}", "/v1/admin/suspend/{userId}"
        unstable = "/unstable/uk.timedout.msc4323/admin"
        locks, suspends = (f"{unstable}/lock/{{userId}}",), (f"{unstable}/suspend/{{userId}}",)
        return [
            Endpoint("GET", lock, self.is_locked, also=locks, auth=admin),
            Endpoint("PUT", lock, self.lock, also=locks, auth=admin),
            Endpoint("GET", suspend, self.is_suspended, also=suspends, auth=admin),
            Endpoint("PUT", suspend, self.suspend, also=suspends, auth=admin),
            Endpoint("GET", "/v3/admin/whois/{userId}", self.whois, rate="other"),
        ]

    async def is_locked(self, call: Call) -> Result:
        return {"locked": (await self.moderation.account(call.path["userId"])).locked}

    async def lock(self, call: Call) -> Result:
        locked = call.field("locked", bool)
        _not_oneself(call)
        await self.moderation.lock(call.path["userId"], locked=locked)
        return {"locked": locked}

    async def is_suspended(self, call: Call) -> Result:
        return {"suspended": (await self.moderation.account(call.path["userId"])).suspended}

    async def suspend(self, call: Call) -> Result:
        suspended = call.field("suspended", bool)
        _not_oneself(call)
        await self.moderation.suspend(call.path["userId"], suspended=suspended)
        return {"suspended": suspended}

    async def whois(self, call: Call) -> Result:
        if not call.requester.is_admin and call.path["userId"] != call.requester.user_id:
            raise forbidden("Only administrators of this server may ask about others")
        return await self.moderation.whois(call.path["userId"])


def _not_oneself(call: Call) -> None:
    if call.path["userId"] == call.requester.user_id:
        raise forbidden("Nobody can do this to their own account")
