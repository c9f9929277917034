"""Our users decline invitations and take knocks back in rooms that we are not in [ss "Leaving Rooms"].

It always succeeds for the user: where no server of the room can be told, or none wants to hear of it, the end of the
prospect is known here only.
"""

import asyncio
from collections.abc import Callable

import structlog
from attrs import frozen

from federation.candidates import Candidates, first_of
from federation.client.membership import MembershipRequests
from federation.own_events import Wanted, finished, wanted
from homeserver.core.canonical_json import MAX_INTEGER
from homeserver.core.errors import MatrixError
from homeserver.core.event import Event
from homeserver.core.event_build import Built, Draft, Place, Signer, build_event
from homeserver.core.hashing import reference_hash, unpadded
from homeserver.core.membership import LEAVE
from homeserver.services.growth import chosen_event_id
from homeserver.services.judging import Arrival
from homeserver.services.member_content import Move
from homeserver.services.now import now_ms

log = structlog.get_logger(__name__)

PATIENCE = 10.0  # seconds until the user is rid of it without anybody having been told


@frozen
class Leaving:
    """Ends what our users have with rooms that we do not follow."""

    requests: MembershipRequests
    candidates: Candidates
    signer: Signer
    clock: Callable[[], int] = now_ms
    patience: float = PATIENCE

    async def leave(self, room_id: str, user_id: str, reason: str | None = None) -> bool:
        """Decline or take back; for who has done so nothing happens. False: nothing of the kind, or a room of ours."""
        remote_rooms = self.candidates.remote_rooms
        if await remote_rooms.is_resident(room_id):
            return False
        prospect = await remote_rooms.prospect(room_id, user_id)
        if prospect is None:
            return await remote_rooms.has_left(room_id, user_id)
        move = Move(room_id=room_id, sender=user_id, target=user_id, membership=LEAVE, reason=reason)
        content = {"membership": LEAVE, **({"reason": reason} if reason is not None else {})}
        event = wanted(move, content, self.clock())
        told = await self._told(event)
        left = told if told is not None else _alone(event, prospect.event, self.signer)
        await remote_rooms.ended(Arrival(left.event, left.json))
        return True

    async def _told(self, event: Wanted) -> Built | None:
        """The event as a server of the room has taken it, if one has in time."""
        servers = await self.candidates.of(event.room_id, event.user_id)
        try:
            async with asyncio.timeout(self.patience):
                return await first_of(servers, lambda server: self._through(server, event))
        except (MatrixError, TimeoutError) as fault:
            log.info(
                "nobody was told of a leave", room_id=event.room_id, user_id=event.user_id, why=str(fault)
            )
            return None

    async def _through(self, server: str, event: Wanted) -> Built:
        template = await self.requests.make_leave(server, event.room_id, event.user_id)
        built = finished(template, event, self.signer)
        await self.requests.send_leave(server, event.room_id, built.event.event_id, built.event.pdu)
        return built


def _alone(event: Wanted, ended: Event, signer: Signer) -> Built:
    """A leave that stands on what it ends, and that no other server will see."""
    version = ended.version
    hashes = {}
    if version.event_id_in_pdu:
        hashes = {ended.event_id: unpadded(reference_hash(ended.pdu, version))}
    place = Place(
        version=version,
        prev_events=(ended.event_id,),
        auth_events=(ended.event_id,),
        depth=min(ended.depth + 1, MAX_INTEGER),
        reference_hashes=hashes,
        event_id=chosen_event_id(signer.server_name) if version.event_id_in_pdu else None,
    )
    draft = Draft("m.room.member", event.user_id, event.content, event.now, event.room_id, event.user_id)
    return build_event(draft, place, signer)
