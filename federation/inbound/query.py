"""Server-Server API, "Querying for information"."""

from attrs import frozen

from federation.aliases import Aliases
from homeserver.core.errors import missing_param, not_found, unrecognized
from homeserver.core.ids import is_user_id
from homeserver.services.identity import Identity
from homeserver.services.profiles import Profiles
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result


@frozen
class QueryApi:
    """GET /query/{queryType}: of what is ours, nothing else"""

    aliases: Aliases
    profiles: Profiles
    identity: Identity

    def endpoints(self) -> list[Endpoint]:
        path = "/_matrix/federation/v1/query"
        return [
            Endpoint("GET", f"{path}/directory", self.directory, auth=Auth.SERVER),
            Endpoint("GET", f"{path}/profile", self.profile, auth=Auth.SERVER),
            Endpoint("GET", f"{path}/{{queryType}}", self.other, auth=Auth.SERVER),
        ]

    async def directory(self, call: Call) -> Result:
        alias = _required(call, "room_alias")
        if not self.identity.is_ours(alias):
            raise not_found("The alias is not of this server")
        found = await self.aliases.resolve(alias)
        return {"room_id": found.room_id, "servers": found.servers}

    async def other(self, call: Call) -> Result:
        raise unrecognized("This server answers queries of the types directory and profile")

    async def profile(self, call: Call) -> Result:
        user_id = _required(call, "user_id")
        if not is_user_id(user_id) or not self.identity.is_ours(user_id):
            raise not_found("The user is not of this server")
        field = call.query.string("field", None)
        profile = await self.profiles.get(user_id)
        if field is None:
            return dict(profile)
        return {field: profile[field]} if field in profile else {}


def _required(call: Call, name: str) -> str:
    value = call.query.string(name, None)
    if value is None:
        raise missing_param(name)
    return value
