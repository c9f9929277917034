"""Server-Server API, "Inviting to a room": users of other servers invite ours."""

from collections.abc import Sequence
from typing import Any

import structlog
from attrs import field, frozen

from federation.invite_state import InviteState
from federation.resident import ResidentRooms
from federation.submissions import Expected, Submissions, check_member, valid_event
from homeserver.core.errors import MatrixError, forbidden, invalid_param, missing_param
from homeserver.core.event import Event
from homeserver.core.ids import is_room_id
from homeserver.core.membership import INVITE
from homeserver.core.receipt_checks import Rejected, SoftFailed
from homeserver.core.room_versions import ROOM_VERSIONS, V1, V2, RoomVersion
from homeserver.core.signing import sign_event
from homeserver.services.application_services.introducing import Introduce, nobody_comes
from homeserver.services.judging import Arrival
from homeserver.services.policy_lists import PolicyLists
from homeserver.services.remote_rooms import RemoteRooms
from homeserver.services.unwanted import refuse_unwelcome_invites
from homeserver.web import fields
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from storage.accounts import find_account

log = structlog.get_logger(__name__)


@frozen
class Invite:
    """What a request says."""

    version: RoomVersion
    pdu: dict[str, Any] = field(repr=False)
    state: Sequence[Any] = field(repr=False)


@frozen
class InvitesApi:
    """invite, in both versions."""

    rooms: ResidentRooms
    submissions: Submissions
    invite_state: InviteState
    remote_rooms: RemoteRooms
    introduce: Introduce = nobody_comes
    policies: PolicyLists | None = None

    def endpoints(self) -> list[Endpoint]:
        prefix, ids = "/_matrix/federation", "{roomId}/{eventId}"
        return [
            Endpoint("PUT", f"{prefix}/v1/invite/{ids}", self.invite_v1, auth=Auth.SERVER, rate="other"),
            Endpoint("PUT", f"{prefix}/v2/invite/{ids}", self.invite, auth=Auth.SERVER, rate="other"),
        ]

    async def invite(self, call: Call) -> Result:
        name = call.field("room_version", str)
        version = ROOM_VERSIONS.get(name)
        if version is None:
            text = "This server does not know the version of this room"
            raise MatrixError(400, "M_INCOMPATIBLE_ROOM_VERSION", text, {"room_version": name})
        state = _state(call.body, version)
        return {"event": await self._signed(call, Invite(version, call.field("event", dict), state))}

    async def invite_v1(self, call: Call) -> Result:
        """The room's version is 1 or 2, which only a create event can tell."""
        pdu = dict(call.body)
        unsigned = pdu.get("unsigned")
        state = _state(unsigned if isinstance(unsigned, dict) else {}, V1)
        return [200, {"event": await self._signed(call, Invite(_named_version(state), pdu, state))}]

    async def _signed(self, call: Call, invite: Invite) -> dict[str, Any]:
        """The event with our signature, once the invited user has been told of it."""
        _check_room_id(call.path["roomId"], invite.version)
        room = await self.rooms.followed(call.path["roomId"], call.origin)
        version = invite.version if room is None else room.version
        known = await self.remote_rooms.entered(call.path["roomId"])
        if known is not None and known.version != version:
            raise invalid_param("The room has another version")
        event = valid_event(invite.pdu, version)
        check_member(event, Expected(call.origin, call.path["roomId"], call.path["eventId"], INVITE))
        await self._check_invitee(event, in_room=room is not None)
        signer = self.submissions.identity.signer
        pdu = sign_event(event.pdu, signer.server_name, signer.key, version)
        cosigned = await self.submissions.verified(
            pdu, version
        )  # the inviter's signature is what is in doubt
        if room is None:
            state = await self.invite_state.checked(invite.state, event.room_id, version)
            if not await self.remote_rooms.invited(cosigned, state):
                raise forbidden("The user is in the room already")
        else:
            await self._tell_room(cosigned)
        return dict(cosigned.event.pdu)

    async def _tell_room(self, cosigned: Arrival) -> None:
        """We follow the room: there the invite is an event like any other. Raises M_FORBIDDEN if it is refused.

        Where it stands on events that we lack, it will come again with them [ss "PUT /_matrix/federation/v2/invite"].
        """
        verdict = await self.submissions.arrivals.receive(cosigned)
        if isinstance(verdict, (Rejected, SoftFailed)):
            raise forbidden(f"The room does not allow this: {verdict.reason}")

    async def _check_invitee(self, event: Event, *, in_room: bool) -> None:
        """Is it somebody of ours whom the sender may invite? Raises M_FORBIDDEN.

        Nobody has the account yet: in a room that we are in, our own users may invite all the same, and who registers
        later finds it; of others we keep nothing that nobody may ever dismiss.
        """
        invited = event.state_key or ""
        if not self.submissions.identity.is_ours(invited):
            raise invalid_param("The invited user is not of this server")
        if self.policies is not None:
            await self.policies.refuse_inviter(event.sender, event.room_id)
        await self.introduce(invited)
        async with self.remote_rooms.writing.database.read() as conn:
            account = await find_account(conn, [invited])
            await refuse_unwelcome_invites(conn, event.sender, [invited])
        if account is None and in_room:
            return
        if account is None or account.deactivated or account.user_id != invited:
            raise forbidden("The invited user does not exist here")


def _check_room_id(room_id: str, version: RoomVersion) -> None:
    """Is it one of this version? Until v11 rooms name a server, since v12 they do not [rooms/v12 "Room IDs"]."""
    if not is_room_id(room_id) or version.room_id_is_create_hash == (":" in room_id):
        raise invalid_param("Not a room id of this version")


def _state(body: dict[str, Any], version: RoomVersion) -> Sequence[Any]:
    """invite_room_state, which rooms since version 12 cannot do without."""
    if "invite_room_state" not in body and version.room_id_is_create_hash:
        raise missing_param("invite_room_state")
    return fields.optional(body, "invite_room_state", list, [])


def _named_version(state: Sequence[Any]) -> RoomVersion:
    contents = [
        item.get("content")
        for item in state
        if isinstance(item, dict) and item.get("type") == "m.room.create"
    ]
    named = [content.get("room_version") for content in contents if isinstance(content, dict)]
    return V2 if "2" in named else V1
