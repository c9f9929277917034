"""Our users invite users of other servers, which sign the invite before it enters the room [ss "Inviting to a room"].

The invite is built and judged on the room as it is; while the other server is asked, the room goes on. What comes back
is received like any event, on a fork if the room has moved.
"""

from attrs import frozen

from federation.client.membership import MembershipRequests
from federation.own_events import BadAnswer, cosigned
from federation.refusals import for_client
from federation.transport.requests import PeerFault
from homeserver.core import canonical_json
from homeserver.core.errors import MatrixError, bad_json, forbidden
from homeserver.core.event import event_from_pdu
from homeserver.core.event_build import Draft
from homeserver.core.hashing import canonical_bytes
from homeserver.core.ids import domain_of
from homeserver.core.receipt_checks import Accepted
from homeserver.services.arrivals import Arrivals
from homeserver.services.introductions import Introductions
from homeserver.services.judging import Arrival, Waiting
from homeserver.services.proposals import Proposal, Proposals
from storage.events import StoredEvent


@frozen
class Inviting:
    """Sends invites to the servers of those who are invited."""

    requests: MembershipRequests
    proposals: Proposals
    introductions: Introductions
    arrivals: Arrivals

    async def invite(self, draft: Draft) -> StoredEvent:
        """Invite; raises what the room's rules or the other server have against it."""
        proposal = await self.proposals.propose(draft)
        try:
            invite = await self._signed(proposal)
        except (PeerFault, BadAnswer) as fault:
            raise _for_inviter(fault) from fault
        await self._take(invite)
        writing = self.arrivals.timeline.writing
        async with writing.database.read() as conn:
            stored = await writing.reader.by_id(conn, invite.event.event_id)
        assert stored is not None, "it was accepted"
        return stored

    async def _signed(self, proposal: Proposal) -> Arrival:
        event = proposal.built.event
        assert event.state_key is not None
        server = domain_of(event.state_key)
        state = await self.introductions.pdus(proposal.room, event.sender)
        answer = await self.requests.invite(
            server,
            room_version=event.version.name,
            event_id=event.event_id,
            pdu=event.pdu,
            invite_room_state=[canonical_json.decode_lenient(pdu) for pdu in state],
        )
        pdu = cosigned(event.pdu, answer, [server], event.version)
        if server not in pdu["signatures"]:
            raise BadAnswer("the invited server has not signed")
        signed = event_from_pdu(pdu, event.event_id, event.version)
        return Arrival(signed, canonical_bytes(pdu, event.version))

    async def _take(self, invite: Arrival) -> None:
        verdict = await self.arrivals.receive(invite)
        if isinstance(verdict, Accepted):
            return
        if isinstance(verdict, Waiting):
            raise MatrixError(409, "M_UNKNOWN", "The room changed too much meanwhile; try again")
        raise forbidden(f"The room does not allow this: {verdict.reason}")


def _for_inviter(fault: PeerFault | BadAnswer) -> MatrixError:
    """As for others, but for the version, which the room's server knows and theirs does not [cs "Room membership"]."""
    if isinstance(fault, BadAnswer):
        return bad_json(f"The other server's answer cannot be used: {fault}")
    refusal = for_client(fault)
    if refusal.errcode == "M_INCOMPATIBLE_ROOM_VERSION":
        refusal.errcode = "M_UNSUPPORTED_ROOM_VERSION"
    return refusal
