"""Events that we begin for other servers to finish: what make_join, make_leave and make_knock answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from federation.resident import ResidentRooms
from federation.submissions import incompatible
from homeserver.core.errors import forbidden, invalid_param
from homeserver.core.event_build import Draft
from homeserver.core.ids import domain_of, is_user_id
from homeserver.core.membership import JOIN
from homeserver.services.now import now_ms
from homeserver.services.proposals import Proposals
from homeserver.services.restricted_joins import RestrictedJoins


@frozen
class Asked:
    """Who wants what in which room. `versions`: those the asking server knows; None where it need not say."""

    origin: str
    room_id: str
    user_id: str
    membership: str
    versions: Sequence[str] | None = None


@frozen
class Templates:
    """Makes templates of member events."""

    rooms: ResidentRooms
    proposals: Proposals
    restricted: RestrictedJoins

    async def of(self, asked: Asked) -> dict[str, Any]:
        """The answer: the template and the room's version. Raises what the room has against it."""
        if not is_user_id(asked.user_id):
            raise invalid_param("Not a user id")
        if domain_of(asked.user_id) != asked.origin:
            raise forbidden("The user is not of your server")
        room = await self.rooms.room(asked.room_id, asked.origin)
        if asked.versions is not None and room.version.name not in asked.versions:
            raise incompatible(room.version)
        extra: Mapping[str, Any] = {}
        if asked.membership == JOIN:
            extra = await self.restricted.authorization(room, asked.user_id)
        draft = Draft(
            "m.room.member",
            asked.user_id,
            {**extra, "membership": asked.membership},
            now_ms(),
            room.room_id,
            asked.user_id,
        )
        proposal = await self.proposals.propose(draft)
        return {"room_version": room.version.name, "event": proposal.template()}
