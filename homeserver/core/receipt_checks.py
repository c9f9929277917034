"""The numbered checks on receipt of a PDU, one function each [ss "Checks performed on receipt of a PDU"].

The caller loads what a check needs (keys, auth events, states), runs the checks in order and stops at the first
verdict. A check answers None where the event passes. Verdicts are values: `Dropped` events are forgotten,
`Rejected` ones stay in the graph but nowhere else, `SoftFailed` ones are kept from clients and from the
extremities, `Accepted` ones are part of the room.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from attrs import frozen
from signedjson.types import VerifyKey

from homeserver.core.auth.rejection import Rejected as NotAllowed
from homeserver.core.auth.rules import check_auth, check_auth_events
from homeserver.core.auth.state import AuthState
from homeserver.core.event import Event, event_from_pdu
from homeserver.core.event_format import InvalidEvent, Received, receive_pdu
from homeserver.core.hashing import content_hash_holds
from homeserver.core.ids import domain_of
from homeserver.core.policy_server import PolicyServer
from homeserver.core.redaction import redact
from homeserver.core.room_versions import RoomVersion
from homeserver.core.signing import must_have_signed, signature_verifies, signed_bytes


@frozen
class Accepted:
    """The event passed every check."""


@frozen
class Dropped:
    """No valid event, or not its sender's: as if it had never arrived."""

    check: int
    reason: str


@frozen
class Rejected:
    """Never was allowed to happen; later events may still point at it [ss "Rejection"]."""

    check: int
    reason: str


@frozen
class SoftFailed:
    """Was allowed where it stands, and would not be now [ss "Soft failure"]."""

    check: int
    reason: str


Verdict = Accepted | Dropped | Rejected | SoftFailed


@frozen
class ServerKey:
    """A key of a server and how long to trust it: at most seven days ahead of when it was fetched.

    For a key that its server has retired, `valid_until_ts` is when that was [ss "Publishing Keys"].
    """

    key: VerifyKey
    valid_until_ts: int
    retired: bool = False


ServerKeys = Mapping[tuple[str, str], ServerKey]  # by server name and key id
Verifies = Callable[[bytes, object, VerifyKey], bool]  # what was signed, the signature as text, by whose key


def check_valid(pdu: Any, version: RoomVersion) -> Event | Dropped:
    """Check 1: is it an event of the room version?"""
    received = check_received(pdu, version)
    return received if isinstance(received, Dropped) else received.event


def check_received(pdu: Any, version: RoomVersion) -> Received | Dropped:
    """Check 1 for who will go on with the others."""
    try:
        return receive_pdu(pdu, version)
    except InvalidEvent as invalid:
        return Dropped(1, invalid.reason)


def check_signatures(
    event: Event,
    keys: ServerKeys,
    *,
    covered: bytes | None = None,
    verifies: Verifies = signature_verifies,
) -> Dropped | None:
    """Check 2: has every server signed that must have [ss "Validating hashes and signatures on received events"]?

    Signatures by unknown and expired keys count for nothing; of the others none may be wrong. `covered` is what they
    are over, where it is at hand; `verifies` tells of each whether it holds.
    """
    message = signed_bytes(event.pdu, event.version) if covered is None else covered
    for server in sorted(must_have_signed(event.pdu, event.version)):
        if not _has_signed(event, server, keys, message, verifies):
            return Dropped(2, f"no valid signature of {server}")
    return None


def keys_needed(pdu: Mapping[str, Any], version: RoomVersion) -> frozenset[tuple[str, str]]:
    """The keys (server name, key id) that checks 2 and 4 ask for, as far as they are named by signatures."""
    servers, signatures = must_have_signed(pdu, version), pdu["signatures"]
    if authorizer := _authorizing_server(pdu["content"], version):
        servers |= {authorizer}
    return frozenset([(server, key_id) for server in servers for key_id in signatures.get(server, ())])


def check_hash(event: Event) -> Event:
    """Check 3: an event that is not what its hash says is taken for a redacted copy of itself."""
    if content_hash_holds(event.pdu, event.version):
        return event
    return event_from_pdu(redact(event.pdu, event.version), event.event_id, event.version)


def authorizer_signed(event: Event, keys: ServerKeys) -> bool:
    """Has the server signed whose user lets the joiner in? True where nobody is named [rooms/v12 auth 5.2]."""
    if "join_authorised_via_users_server" not in event.content:
        return True
    server = _authorizing_server(event.content, event.version)
    if server is None:
        return False
    return _has_signed(event, server, keys, signed_bytes(event.pdu, event.version), signature_verifies)


def check_by_auth_events(
    event: Event,
    auth_events: Sequence[Event],
    *,
    rejected: Container[str],
    create: Event | None,
    authorizer_signed: bool = True,
) -> Rejected | None:
    """Check 4: do the auth events that the event names allow it? They are all known, rejected or not."""
    try:
        state = check_auth_events(event, auth_events, rejected=rejected, create=create)
        check_auth(event, state, authorizer_signed=authorizer_signed)
    except NotAllowed as refusal:
        return Rejected(4, str(refusal))
    return None


def check_by_state_before(
    event: Event, state: AuthState, *, authorizer_signed: bool = True
) -> Rejected | None:
    """Check 5: does the state before the event allow it?"""
    try:
        check_auth(event, state, authorizer_signed=authorizer_signed)
    except NotAllowed as refusal:
        return Rejected(5, str(refusal))
    return None


def check_by_current_state(
    event: Event, state: AuthState, *, authorizer_signed: bool = True
) -> SoftFailed | None:
    """Check 6: would the room's current state still allow it?"""
    try:
        check_auth(event, state, authorizer_signed=authorizer_signed)
    except NotAllowed as refusal:
        return SoftFailed(6, str(refusal))
    return None


def check_policy(event: Event, policy_server: PolicyServer | None) -> SoftFailed | None:
    """Check 7: has the room's policy server, if it has one, signed the event?"""
    if policy_server is None or policy_server.recommends(event):
        return None
    return SoftFailed(7, f"no valid signature of the policy server {policy_server.via}")


def _authorizing_server(content: Mapping[str, Any], version: RoomVersion) -> str | None:
    user_id = content.get("join_authorised_via_users_server")
    return domain_of(user_id) if isinstance(user_id, str) and version.restricted else None


def _has_signed(event: Event, server: str, keys: ServerKeys, message: bytes, verifies: Verifies) -> bool:
    """At least one signature by a known key that was valid, and none by such a key that is wrong."""
    signatures = event.pdu["signatures"].get(server, {})
    known = [(text, keys[server, key_id]) for key_id, text in signatures.items() if (server, key_id) in keys]
    usable = [(text, key.key) for text, key in known if _was_valid(key, event)]
    return bool(usable) and all(verifies(message, text, key) for text, key in usable)


def _was_valid(key: ServerKey, event: Event) -> bool:
    """Could the key sign then? Until v4 only retiring ends a key [rooms/v5 "Signing key validity period"]."""
    if key.valid_until_ts >= event.origin_server_ts:
        return True
    return not (event.version.enforce_key_validity or key.retired)
