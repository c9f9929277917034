"""Server-Server API, "Third-party invites": addresses that were invited have become users."""

from typing import Any

from attrs import frozen

from federation.resident import ResidentRooms
from federation.third_party import Redemption, ThirdPartyInvites
from homeserver.core.errors import forbidden, invalid_param
from homeserver.core.ids import domain_of, is_room_id, is_user_id
from homeserver.core.membership import INVITE
from homeserver.services.identity import Identity
from homeserver.web import fields
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result

MAX_INVITES = 20  # of one address; each may cost a request


@frozen
class ThirdPartyInvitesApi:
    """exchange_third_party_invite and 3pid/onbind."""

    rooms: ResidentRooms
    invites: ThirdPartyInvites
    identity: Identity

    def endpoints(self) -> list[Endpoint]:
        prefix = "/_matrix/federation/v1"
        exchange = f"{prefix}/exchange_third_party_invite/{{roomId}}"
        return [
            Endpoint("PUT", exchange, self.exchange, auth=Auth.SERVER, rate="other"),
            # From identity servers, which do not sign: what they say is checked by the rooms' rules.
            Endpoint("PUT", f"{prefix}/3pid/onbind", self.bound, auth=Auth.NONE, rate="invite"),
            # COMPAT(Sydent, SyTest): identity servers as they are use another method than the specification.
            Endpoint("POST", f"{prefix}/3pid/onbind", self.bound, auth=Auth.NONE, rate="invite"),
        ]

    async def exchange(self, call: Call) -> Result:
        call.canonical_body()
        room = await self.rooms.room(call.path["roomId"], call.origin)
        content = call.field("content", dict)
        if call.field("type", str) != "m.room.member" or content.get("membership") != INVITE:
            raise invalid_param("Not an invite")
        if call.field("room_id", str) != room.room_id:
            raise invalid_param("The event is of another room than the path")
        invite = fields.required(content, "third_party_invite", dict)
        redemption = Redemption(
            room.room_id,
            call.field("sender", str),
            call.field("state_key", str),
            fields.required(invite, "signed", dict),
            fields.optional(invite, "display_name", str, ""),
        )
        if not is_user_id(redemption.sender) or not self.identity.is_ours(redemption.sender):
            raise forbidden("The inviting user is not of this server")
        if not is_user_id(redemption.user_id) or domain_of(redemption.user_id) != call.origin:
            raise forbidden("The invited user is not of your server")
        await self.invites.exchange(redemption)
        return {}

    async def bound(self, call: Call) -> Result:
        call.canonical_body()
        user_id = call.field("mxid", str)
        if not is_user_id(user_id) or not self.identity.is_ours(user_id):
            raise invalid_param("mxid is no user of this server")
        found = fields.objects(call.body, "invites")[:MAX_INVITES]
        await self.invites.all_bound([_redemption(item, user_id) for item in found])
        return {}


def _redemption(item: dict[str, Any], user_id: str) -> Redemption:
    room_id, sender = fields.required(item, "room_id", str), fields.required(item, "sender", str)
    signed = fields.required(item, "signed", dict)
    if not is_room_id(room_id) or not is_user_id(sender):
        raise invalid_param("room_id must be a room id, sender a user id")
    if (
        item.get("mxid") != user_id
        or signed.get("mxid") != user_id
        or not isinstance(signed.get("token"), str)
    ):
        raise invalid_param("The invite is not for this user")
    return Redemption(room_id, sender, user_id, signed)
