"""Invitations by e-mail address or the like, once the address is bound to a user [ss "Third-party invites"].

The room holds the key of the identity server that keeps the address, and that server's word makes the invite: the
rules check it, so who passes the word on need not be trusted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from attrs import evolve, field, frozen

from federation.client.membership import MembershipRequests
from federation.transport.identity_servers import IdentityServers
from federation.transport.requests import PeerFault
from homeserver.core.auth.third_party_invite import validity_urls
from homeserver.core.errors import MatrixError, forbidden, invalid_param
from homeserver.core.event_build import Draft
from homeserver.core.ids import domain_of, is_user_id
from homeserver.core.membership import INVITE, JOIN
from homeserver.core.receipt_checks import Accepted
from homeserver.services.arrivals import Arrivals
from homeserver.services.judging import Arrival, Waiting
from homeserver.services.membership import Elsewhere
from homeserver.services.now import now_ms
from homeserver.services.proposals import Proposals
from homeserver.services.remote_rooms import RemoteRooms
from storage.current_events import of_keys
from storage.state_keys import user_key

log = structlog.get_logger(__name__)

OFFER = "m.room.third_party_invite"
MOST_KEYS = 4  # of one invitation; each may cost a request


@frozen
class Redemption:
    """An invitation to an address that a user has now: who invited, whom, and the identity server's word for it."""

    room_id: str
    sender: str
    user_id: str
    signed: Mapping[str, Any] = field(repr=False)
    display_name: str = ""

    def draft(self) -> Draft:
        """The invite that it comes to."""
        invite = {"display_name": self.display_name, "signed": dict(self.signed)}
        content = {"membership": INVITE, "third_party_invite": invite}
        return Draft("m.room.member", self.sender, content, now_ms(), self.room_id, self.user_id)


@frozen
class ThirdPartyInvites:
    """Makes invites of invitations to addresses."""

    servers: IdentityServers
    elsewhere: Elsewhere
    requests: MembershipRequests
    proposals: Proposals
    arrivals: Arrivals
    remote_rooms: RemoteRooms

    async def exchange(self, redemption: Redemption) -> None:
        """Another server's user has the address that one of ours invited: invite that user."""
        redemption = await self._checked(redemption)
        await self.elsewhere.invite(redemption.draft())

    async def redeem(self, room_id: str, user_id: str, signed: Mapping[str, Any]) -> None:
        """A user of ours brings the identity server's word along and wants in [cs "POST /join/{roomIdOrAlias}"].

        Nothing happens for who may enter already. Raises as `bound`, and M_INVALID_PARAM.
        """
        sender = signed.get("sender")
        if not is_user_id(sender) or signed.get("mxid") != user_id:
            raise invalid_param("third_party_signed must name who invited, and you")
        timeline = self.proposals.timeline
        if await self.remote_rooms.is_resident(room_id):
            room = (await timeline.head(room_id)).room
            async with timeline.writing.database.read() as conn:
                found = await of_keys(conn, timeline.writing.reader, room.nid, [user_key(user_id)])
            member = found.get(user_key(user_id))
            if member is not None and member.event.content.get("membership") in (INVITE, JOIN):
                return
        await self.bound(Redemption(room_id, str(sender), user_id, signed))

    async def bound(self, redemption: Redemption) -> None:
        """A user of ours has the address. Raises what the room, or the inviter's server, has against it."""
        if await self.remote_rooms.is_resident(redemption.room_id):
            await self._take(redemption)
            return
        draft = redemption.draft()
        event = {
            "type": draft.type,
            "room_id": draft.room_id,
            "sender": draft.sender,
            "state_key": draft.state_key,
            "content": draft.content,
        }
        server = domain_of(redemption.sender)
        try:
            await self.requests.exchange_third_party_invite(server, redemption.room_id, event)
        except PeerFault as fault:
            raise MatrixError(404, "M_NOT_FOUND", "The inviting server did not take it") from fault

    async def _take(self, redemption: Redemption) -> None:
        """We are in the room: the invite is ours to make, whoever invited."""
        redemption = await self._checked(redemption)
        built = (await self.proposals.propose(redemption.draft())).built
        verdict = await self.arrivals.receive(Arrival(built.event, built.json, relay=True))
        if isinstance(verdict, Accepted):
            return
        reason = "it changed meanwhile" if isinstance(verdict, Waiting) else verdict.reason
        raise forbidden(f"The room does not allow this: {reason}")

    async def _checked(self, redemption: Redemption) -> Redemption:
        """With the name that the room's invitation has; the key that signed must be valid still.

        Only who makes the invite asks for that [cs "Third-party invites"]. Raises M_FORBIDDEN, also where it cannot be
        asked. What is not signed well the room's rules refuse.
        """
        timeline, key = self.proposals.timeline, (OFFER, str(redemption.signed.get("token")))
        room = (await timeline.head(redemption.room_id)).room
        async with timeline.writing.database.read() as conn:
            found = await of_keys(conn, timeline.writing.reader, room.nid, [key])
        if key not in found:
            return redemption
        offer = found[key].event.content
        await self._require_valid(validity_urls(redemption.signed, offer)[:MOST_KEYS])
        name = offer.get("display_name")
        return evolve(redemption, display_name=name if isinstance(name, str) else redemption.display_name)

    async def _require_valid(self, keys: Sequence[tuple[str, str | None]]) -> None:
        if not keys or any(url is None for _, url in keys):
            return
        for public_key, url in keys:
            try:
                if await self.servers.is_valid(str(url), public_key):
                    return
            except MatrixError as fault:
                log.info("a key cannot be checked", url=url, why=str(fault))
        raise forbidden("The identity server does not stand by the key that signed this")

    async def all_bound(self, redemptions: list[Redemption]) -> None:
        """Several at once: one that fails keeps nothing from the others. Raises where not one was good."""
        refusals = []
        for redemption in redemptions:
            try:
                await self.bound(redemption)
            except MatrixError as refusal:
                log.info(
                    "an invitation to an address was not redeemed",
                    room_id=redemption.room_id,
                    user_id=redemption.user_id,
                    why=str(refusal),
                )
                refusals.append(refusal)
        if refusals and len(refusals) == len(redemptions):
            raise refusals[0]
