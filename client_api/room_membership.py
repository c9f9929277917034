"""Client-Server API, "Room membership": joining, leaving, inviting, kicking, banning, knocking, forgetting."""

from attrs import evolve, frozen

from client_api.third_party_invites import THIRD_PARTY, invitation_of
from federation.address_invites import AddressInvites
from federation.aliases import Aliases, Resolved
from federation.membership import Entrances, joins, knocks
from homeserver.core.errors import invalid_param
from homeserver.core.ids import is_room_alias, is_room_id
from homeserver.core.membership import BAN, INVITE, LEAVE
from homeserver.services.belongings import Belongings
from homeserver.services.member_content import Move
from homeserver.services.membership import Memberships
from homeserver.services.push_rules import Owner
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result

NOT_CONTENT = frozenset(
    "reason third_party_signed membership displayname avatar_url is_direct"
    " join_authorised_via_users_server".split()
)


@frozen
class RoomMembership:
    """What changes who is in a room."""

    memberships: Memberships
    entrances: Entrances
    aliases: Aliases
    belongings: Belongings
    address_invites: AddressInvites

    def endpoints(self) -> list[Endpoint]:
        guest = Auth.GUEST_OK
        return [
            Endpoint(
                "POST",
                "/v3/join/{roomIdOrAlias}",
                self.join,
                also=("/v3/rooms/{roomId}/join",),
                auth=guest,
                rate="join",
                empty_body=True,
                suspended=False,
            ),
            Endpoint(
                "POST", "/v3/knock/{roomIdOrAlias}", self.knock, rate="join", empty_body=True, suspended=False
            ),
            Endpoint(
                "POST", "/v3/rooms/{roomId}/leave", self.leave, auth=guest, rate="other", empty_body=True
            ),
            Endpoint(
                "POST", "/v3/rooms/{roomId}/forget", self.forget, auth=guest, rate="other", empty_body=True
            ),
            Endpoint("POST", "/v3/rooms/{roomId}/invite", self.invite, rate="invite", suspended=False),
            Endpoint("POST", "/v3/rooms/{roomId}/kick", self.kick, rate="other", suspended=False),
            Endpoint("POST", "/v3/rooms/{roomId}/ban", self.ban, rate="other", suspended=False),
            Endpoint("POST", "/v3/rooms/{roomId}/unban", self.unban, rate="other", suspended=False),
        ]

    async def join(self, call: Call) -> Result:
        room = await self._room(call)
        signed = call.optional("third_party_signed", dict)
        if signed is not None:
            call.canonical_body()
            await self.address_invites.third_party.redeem(room.room_id, call.requester.user_id, signed)
        move = joins(room.room_id, call.requester.user_id, call.optional("reason", str))
        # COMPAT(SyTest, clients that mark their members): what else the body has goes into the member event.
        move = evolve(move, extra={k: v for k, v in call.canonical_body().items() if k not in NOT_CONTENT})
        await self.entrances.join(move, room.servers, is_guest=call.requester.is_guest)
        owner = Owner(call.requester.user_id, call.requester.user_nid)
        await self.belongings.bring(owner, room.room_id)
        return {"room_id": room.room_id}

    async def knock(self, call: Call) -> Result:
        room = await self._room(call)
        move = knocks(room.room_id, call.requester.user_id, call.optional("reason", str))
        await self.entrances.knock(move, room.servers)
        return {"room_id": room.room_id}

    async def leave(self, call: Call) -> Result:
        reason = call.optional("reason", str)
        await self.memberships.leave(call.path["roomId"], call.requester.user_id, reason=reason)
        return {}

    async def forget(self, call: Call) -> Result:
        await self.memberships.forget(call.path["roomId"], call.requester.user_id)
        return {}

    async def invite(self, call: Call) -> Result:
        if "user_id" not in call.body and any(name in call.body for name in THIRD_PARTY):
            await self.address_invites.invite(
                invitation_of(call.body, call.path["roomId"], call.requester.user_id),
                reason=call.optional("reason", str),
            )
            return {}
        await self.memberships.invite(_move(call, INVITE))
        return {}

    async def kick(self, call: Call) -> Result:
        await self.memberships.kick(_move(call, LEAVE))
        return {}

    async def ban(self, call: Call) -> Result:
        await self.memberships.ban(_move(call, BAN))
        return {}

    async def unban(self, call: Call) -> Result:
        await self.memberships.unban(_move(call, LEAVE))
        return {}

    async def _room(self, call: Call) -> Resolved:
        """The room that is meant, and through which servers it may be entered."""
        named = call.path.get("roomIdOrAlias") or call.path["roomId"]
        # The second name of the parameter is the older one [cs "POST /join/{roomIdOrAlias}"].
        via = [*call.query.strings("via"), *call.query.strings("server_name")]
        if is_room_alias(named):
            found = await self.aliases.resolve(named)
            return Resolved(found.room_id, [*via, *found.servers])
        if not is_room_id(named):
            raise invalid_param("Neither a room id nor a room alias")
        return Resolved(named, via)


def _move(call: Call, membership: str) -> Move:
    return Move(
        room_id=call.path["roomId"],
        sender=call.requester.user_id,
        target=call.field("user_id", str),
        membership=membership,
        reason=call.optional("reason", str),
    )
