"""The rooms of the server: how their services are connected, and what of them clients may ask."""

from attrs import frozen

from client_api.create_room import CreateRoom
from client_api.room_membership import RoomMembership
from client_api.room_send import RoomSend
from homeserver.app.config import Config
from homeserver.app.foundation import Foundation
from homeserver.services.directory import Directory
from homeserver.services.member_content import MemberContents
from homeserver.services.membership import Memberships
from homeserver.services.restricted_joins import RestrictedJoins
from homeserver.services.room_creation import RoomCreation
from homeserver.services.room_sending import RoomSending
from homeserver.web.endpoint import Endpoint


@frozen
class RoomParts:
    """The services that write into rooms."""

    memberships: Memberships
    creation: RoomCreation
    sending: RoomSending
    directory: Directory


def room_parts(foundation: Foundation) -> RoomParts:
    """Connect what writes into rooms."""
    timeline = foundation.timeline
    restricted = RestrictedJoins(
        foundation.database, foundation.reader, foundation.state_keys, foundation.identity
    )
    memberships = Memberships(timeline, MemberContents(foundation.database), restricted)
    return RoomParts(
        memberships,
        RoomCreation(timeline, memberships),
        RoomSending(timeline, memberships),
        Directory(timeline),
    )


def room_endpoints(config: Config, parts: RoomParts) -> list[Endpoint]:
    """Everything about rooms that clients may ask."""
    return [
        *CreateRoom(parts.creation, config.server.name, config.rooms.default_version).endpoints(),
        *RoomMembership(parts.memberships, parts.directory).endpoints(),
        *RoomSend(parts.sending).endpoints(),
    ]
