"""Our users ask to be let into rooms that we are not in [ss "Knocking upon a room"]."""

from collections.abc import Callable, Iterable

from attrs import frozen

from federation.candidates import Candidates, first_of
from federation.client.membership import MembershipRequests
from federation.invite_state import InviteState
from federation.own_events import Wanted, finished, versions_for, wanted
from homeserver.core.event_build import Signer
from homeserver.core.membership import KNOCK
from homeserver.services.judging import Arrival
from homeserver.services.member_content import MemberContents, Move
from homeserver.services.now import now_ms


@frozen
class Knocking:
    """Knocks through servers that are in the room."""

    requests: MembershipRequests
    candidates: Candidates
    invite_state: InviteState
    contents: MemberContents
    signer: Signer
    clock: Callable[[], int] = now_ms

    async def knock(self, move: Move, via: Iterable[str] = ()) -> None:
        """Knock, and remember it with what the room shows of itself."""
        event = wanted(move, await self.contents.of(move), self.clock())
        servers = await self.candidates.of(move.room_id, move.target, via)
        await first_of(servers, lambda server: self._through(server, event))

    async def _through(self, server: str, event: Wanted) -> None:
        versions = versions_for(KNOCK)
        template = await self.requests.make_knock(server, event.room_id, event.user_id, versions)
        built = finished(template, event, self.signer)
        knock = built.event
        shown = await self.requests.send_knock(server, event.room_id, knock.event_id, knock.pdu)
        state = await self.invite_state.usable(shown, event.room_id, knock.version)
        await self.candidates.remote_rooms.knocked(Arrival(knock, built.json), state)
