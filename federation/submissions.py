"""Member events that other servers hand in for their own users: joins, leaves, knocks.

The checks that the specification demands before such an event is signed or let in, then the way of every event into a
room. What is accepted is told to the room's other servers by us.
"""

from collections.abc import Mapping
from typing import Any

import structlog
from attrs import evolve, frozen

from federation.verify import PduChecks
from homeserver.core import canonical_json
from homeserver.core.errors import MatrixError, bad_json, forbidden, invalid_param
from homeserver.core.event import Event
from homeserver.core.ids import domain_of
from homeserver.core.receipt_checks import Accepted, Dropped, check_valid
from homeserver.core.room_versions import RoomVersion
from homeserver.core.signing import sign_event
from homeserver.services.arrivals import Arrivals
from homeserver.services.identity import Identity
from homeserver.services.judging import Arrival, Waiting
from homeserver.services.restricted_joins import AUTHORIZER

log = structlog.get_logger(__name__)


@frozen
class Expected:
    """What the request says of the event in its body."""

    origin: str
    room_id: str
    event_id: str
    membership: str


@frozen
class Submissions:
    """Checks member events and puts them into rooms."""

    checks: PduChecks
    arrivals: Arrivals
    identity: Identity

    async def checked(self, pdu: Mapping[str, Any], version: RoomVersion, expected: Expected) -> Arrival:
        """The event with checks 1 to 3 passed. Raises M_INVALID_PARAM for what is not as expected, M_FORBIDDEN for
        what is not the sender's.

        A join for which one of our users vouches gets our signature, which counts only if the room then takes it
        [ss "Restricted rooms"].
        """
        event = valid_event(pdu, version)
        _check_own(event, expected)
        authorizer = event.content.get(AUTHORIZER)
        if version.restricted and isinstance(authorizer, str) and self.identity.is_ours(authorizer):
            signer = self.identity.signer
            pdu = sign_event(event.pdu, signer.server_name, signer.key, version)
        return await self.verified(pdu, version)

    async def verified(self, pdu: Mapping[str, Any], version: RoomVersion) -> Arrival:
        """Checks 1 to 3. Raises M_FORBIDDEN where the event is not signed by whom it should be."""
        checked: Arrival | Dropped = (await self.checks.check([pdu], version))[0]
        if isinstance(checked, Dropped):
            raise forbidden(f"The event is not valid: {checked.reason}")
        return checked

    async def accept(self, arrival: Arrival) -> None:
        """Put the event into its room and tell the other servers. Raises M_FORBIDDEN where the room refuses it."""
        event = arrival.event
        verdict = await self.arrivals.receive(evolve(arrival, relay=True))
        if isinstance(verdict, Accepted):
            return
        if isinstance(verdict, Waiting):
            log.info("a member event stands on unknown ones", event_id=event.event_id, room_id=event.room_id)
            raise invalid_param("The event follows events unknown here: ask for a template again")
        log.info(
            "a member event was refused", event_id=event.event_id, room_id=event.room_id, why=verdict.reason
        )
        raise forbidden(f"The room does not allow this: {verdict.reason}")


def valid_event(pdu: Mapping[str, Any], version: RoomVersion) -> Event:
    """The event by its format alone. Raises M_BAD_JSON, M_FORBIDDEN where it cannot be signed, M_INVALID_PARAM."""
    if not all(isinstance(pdu.get(name), dict) for name in ("hashes", "signatures")):
        raise forbidden("The event is not signed")
    if version.strict_canonical_json:
        _check_canonical(pdu)
    event = check_valid(dict(pdu), version)
    if isinstance(event, Dropped):
        raise invalid_param(f"Not an event of room version {version.name}: {event.reason}")
    return event


def _check_canonical(pdu: Mapping[str, Any]) -> None:
    """[rooms/v6 "Canonical JSON"]"""
    try:
        canonical_json.check(dict(pdu))
    except canonical_json.NotCanonical as fault:
        raise bad_json(f"The event is not canonical JSON: {fault}") from fault


def _check_own(event: Event, expected: Expected) -> None:
    """The checks of [ss "PUT send_join"] and its like, apart from signatures."""
    check_member(event, expected)
    if event.state_key != event.sender:
        raise invalid_param("The state key is not the sender")


def check_member(event: Event, expected: Expected) -> None:
    """Is it a member event of this kind, in this room, under this id, of a user of the server that sends it?"""
    if event.type != "m.room.member" or event.membership != expected.membership:
        raise invalid_param(f"Not a member event of membership {expected.membership}")
    if event.room_id != expected.room_id:
        raise invalid_param("The event is of another room than the path")
    if event.event_id != expected.event_id:
        raise invalid_param("The event has another id than the path")
    if domain_of(event.sender) != expected.origin:
        raise forbidden("The sender is not a user of your server")


def incompatible(version: RoomVersion) -> MatrixError:
    """The asking server does not know the room's version [ss "GET make_join"]."""
    text = "Your server does not support the version of this room"
    return MatrixError(400, "M_INCOMPATIBLE_ROOM_VERSION", text, {"room_version": version.name})
