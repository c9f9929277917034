"""Client-Server API, "Creation" of rooms."""

from collections.abc import Sequence
from typing import Any

import structlog
from attrs import evolve, frozen

from client_api.third_party_invites import invitation_of
from federation.address_invites import AddressInvites, Invitation
from homeserver.core.application_services import ApplicationServices
from homeserver.core.errors import MatrixError, bad_json, forbidden, invalid_param
from homeserver.core.ids import is_room_alias
from homeserver.core.room_founding import PRESETS, NewRoom, Preset, StateDraft
from homeserver.core.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.services.room_creation import RoomCreation
from homeserver.web import fields
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result

log = structlog.get_logger(__name__)

MAX_ADDRESSES = 10  # each is a few requests to an identity server


@frozen
class CreateRoom:
    """POST /createRoom."""

    creation: RoomCreation
    server_name: str
    default_version: str
    publishing: bool
    address_invites: AddressInvites
    services: ApplicationServices

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(
                "POST", "/v3/createRoom", self.create, rate="create_room", empty_body=True, suspended=False
            )
        ]

    async def create(self, call: Call) -> Result:
        call.canonical_body()
        listed = fields.objects(call.body, "invite_3pid") if call.body.get("invite_3pid") else []
        invitations = [invitation_of(item, "", call.requester.user_id) for item in listed]
        for invitation in invitations:
            self.address_invites.servers.require_trusted(invitation.id_server)
        room = NewRoom(
            version=self._version(call),
            creator=call.requester.user_id,
            preset=_preset(call),
            creation_content=call.optional("creation_content", dict, {}),
            level_override=call.optional("power_level_content_override", dict, {}),
            initial_state=_initial_state(call),
            name=call.optional("name", str),
            topic=call.optional("topic", str),
            alias=self._alias(call),
            invite=fields.strings(call.body, "invite"),
            is_direct=call.optional("is_direct", bool, False),
        )
        published = _visibility(call) == "public"
        if published and not self.publishing:
            raise forbidden("Rooms cannot be published on this server")
        room_id = await self.creation.create(room, published=published)
        await self._invite_addresses(room_id, invitations)
        return {"room_id": room_id}

    async def _invite_addresses(self, room_id: str, invitations: Sequence[Invitation]) -> None:
        """The room exists whether or not identity servers take the invitations."""
        for invitation in invitations[:MAX_ADDRESSES]:
            try:
                await self.address_invites.invite(evolve(invitation, room_id=room_id))
            except MatrixError as refusal:
                log.warning("an address was not invited into a new room", room_id=room_id, why=str(refusal))

    def _version(self, call: Call) -> RoomVersion:
        name = call.optional("room_version", str, self.default_version)
        version = ROOM_VERSIONS.get(name)
        if version is None:
            raise MatrixError(400, "M_UNSUPPORTED_ROOM_VERSION", "This server does not know the room version")
        return version

    def _alias(self, call: Call) -> str | None:
        name = call.optional("room_alias_name", str)
        if name is None:
            return None
        alias = f"#{name}:{self.server_name}"
        if not is_room_alias(alias) or ":" in name or any(map(str.isspace, name)):
            raise invalid_param("room_alias_name cannot be part of a room alias")
        self.services.check_alias(alias, call.requester.appservice)
        return alias


def _visibility(call: Call) -> str:
    visibility = call.optional("visibility", str, "private")
    if visibility not in ("public", "private"):
        raise invalid_param("visibility must be public or private")
    return visibility


def _preset(call: Call) -> Preset:
    implied = "public_chat" if _visibility(call) == "public" else "private_chat"
    name = call.optional("preset", str, implied)
    if name not in PRESETS:
        raise invalid_param(f"preset must be one of: {', '.join(PRESETS)}")
    return PRESETS[name]


def _initial_state(call: Call) -> Sequence[StateDraft]:
    return [_state_draft(item) for item in fields.objects(call.body, "initial_state")]


def _state_draft(item: dict[str, Any]) -> StateDraft:
    kind = fields.required(item, "type", str)
    if not kind:
        raise bad_json("The type of a state event must not be empty")
    return (kind, fields.optional(item, "state_key", str, "")), fields.required(item, "content", dict)
