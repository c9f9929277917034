"""Policy servers: our events carry their signature, and events of others without it are soft-failed (check 7).

An event of another server that lacks the signature is shown to the policy server before that is held against it: the
key may have changed since, or its server may not know of such servers [ss "Validating Policy Server signatures"].
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
from attrs import evolve, field, frozen

from federation.transport.requests import PeerFault, PeerRefused
from homeserver.core.errors import MatrixError, forbidden
from homeserver.core.event import Event
from homeserver.core.hashing import canonical_bytes
from homeserver.core.policy_server import KEY_ID, PolicyServer
from homeserver.services.judging import Arrival
from homeserver.services.room_heads import Head
from homeserver.services.room_policies import RoomPolicies

log = structlog.get_logger(__name__)

AT_ONCE = 8  # events of a batch shown to a policy server at a time
_PASSED_ON = {
    400,
    403,
    429,
}  # its refusals that a client may see: others could mean something else to clients
_NEVER_PASSED_ON = {"M_UNKNOWN_TOKEN", "M_MISSING_TOKEN", "M_USER_DEACTIVATED", "M_USER_LOCKED"}


@frozen
class PolicyServers:
    """The writers' `Policing`. `ask(server, pdu)` gives signatures by server and key id, or raises PeerFault."""

    policies: RoomPolicies
    ask: Callable[[str, bytes], Awaitable[dict[str, Any]]]
    _places: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(AT_ONCE), init=False)

    async def countersigned(self, head: Head, event: Event) -> Event:
        """An event of ours as it may be sent; raises MatrixError where the policy server does not recommend it.

        Called under the head's lock: the room waits meanwhile, at most as long as a quick request takes.
        """
        policy = await self.policies.of(head)
        if policy is None or policy.recommends(event):
            return event
        try:
            signed = await self._shown(policy, event)
        except PeerRefused as refusal:
            raise _told(policy, refusal) from refusal
        except PeerFault as fault:
            message = f"The room's policy server {policy.via} cannot be reached; try again later"
            raise MatrixError(502, "M_UNKNOWN", message) from fault
        if not policy.recommends(signed):
            raise forbidden(f"The room's policy server {policy.via} did not sign the event")
        return signed

    async def judged(self, head: Head, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """Events of others with the verdict of check 7, and with the signature where it was given only now."""
        if self.policies.has_none(head):
            return list(arrivals)
        async with head.lock:
            policy = await self.policies.of(head)
        if policy is None:
            return list(arrivals)
        return list(await asyncio.gather(*(self._judged(policy, arrival) for arrival in arrivals)))

    async def _judged(self, policy: PolicyServer, arrival: Arrival) -> Arrival:
        if policy.recommends(arrival.event):
            return arrival
        try:
            async with self._places:
                signed = await self._shown(policy, arrival.event)
        except PeerFault as fault:
            log.info(
                "a policy server does not recommend an event",
                event_id=arrival.event.event_id,
                policy_server=policy.via,
                reason=str(fault),
            )
            return evolve(arrival, recommended=False)
        if not policy.recommends(signed):
            return evolve(arrival, recommended=False)
        return evolve(arrival, event=signed, json=canonical_bytes(signed.pdu, signed.version))

    async def _shown(self, policy: PolicyServer, event: Event) -> Event:
        """The event with what the policy server has signed, good or not."""
        made = await self.ask(policy.via, canonical_bytes(event.pdu, event.version))
        given = made.get(policy.via)
        signature = given.get(KEY_ID) if isinstance(given, dict) else None
        if not isinstance(signature, str):
            return event
        # Its other signatures stay: it may be the sender's server too.
        signatures = event.pdu["signatures"]
        own = {**signatures.get(policy.via, {}), KEY_ID: signature}
        return evolve(event, pdu={**event.pdu, "signatures": {**signatures, policy.via: own}})


def _told(policy: PolicyServer, refusal: PeerRefused) -> MatrixError:
    """Its word to the client, verbatim where clients cannot mistake it for ours about their session."""
    message = refusal.error or f"The room's policy server {policy.via} refuses the event"
    if refusal.status not in _PASSED_ON or not refusal.errcode or refusal.errcode in _NEVER_PASSED_ON:
        return forbidden(message)
    extra = {} if refusal.retry_after is None else {"retry_after_ms": int(refusal.retry_after * 1000)}
    return MatrixError(refusal.status, refusal.errcode, message, extra)
