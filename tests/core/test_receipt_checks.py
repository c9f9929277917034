"""The numbered checks on receipt of a PDU, each passing and failing [ss "Checks performed on receipt of a PDU"]."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from attrs import evolve
from signedjson.key import generate_signing_key, get_verify_key
from unpaddedbase64 import encode_base64

from homeserver.core.auth.state import AuthState
from homeserver.core.event import Event, event_from_pdu
from homeserver.core.event_build import Draft, Place, Signer, build_event
from homeserver.core.policy_server import policy_server
from homeserver.core.receipt_checks import (
    Dropped,
    Rejected,
    ServerKey,
    ServerKeys,
    SoftFailed,
    authorizer_signed,
    check_by_auth_events,
    check_by_current_state,
    check_by_state_before,
    check_hash,
    check_policy,
    check_signatures,
    check_valid,
    keys_needed,
)
from homeserver.core.redaction import redact
from homeserver.core.room_versions import V4, V5, V11, V12, RoomVersion
from homeserver.core.signing import sign_event
from tests.kit.room_builder import ALICE, BOB, START, RoomBuilder

KEY, OTHER_KEY = generate_signing_key("1"), generate_signing_key("1")
A, B = "a.example", "b.example"
LATER = START + 1000


def keys(key: Any = KEY, *, until: int = LATER, retired: bool = False, server: str = A) -> ServerKeys:
    return {(server, "ed25519:1"): ServerKey(get_verify_key(key), until, retired)}


def signed(version: RoomVersion, content: Mapping[str, Any] | None = None, kind: str = "m.x") -> Event:
    draft = Draft(kind, ALICE, content or {"body": "hello"}, START, "!" + "R" * 43, ALICE)
    return build_event(draft, Place(version, ("$" + "P" * 43,), (), 3), Signer(A, KEY)).event


def test_check_1_format() -> None:
    event = signed(V12)
    assert check_valid({"type": "m.x"}, V12) == Dropped(1, "sender is missing")
    passed = check_valid(orjson.loads(orjson.dumps(event.pdu)), V12)
    assert isinstance(passed, Event)
    assert passed.event_id == event.event_id


SIGNATURES = [
    (V12, keys(), True),
    (V12, {}, False),  # a key that nobody knows counts for nothing
    (V12, keys(OTHER_KEY), False),
    (V12, keys(server=B), False),
    (V12, keys(until=START), True),
    (V12, keys(until=START - 1), False),
    (V5, keys(until=START - 1), False),
    (V4, keys(until=START - 1), True),  # only since v5 does a key end with its validity
    (V4, keys(until=START - 1, retired=True), False),
    (V4, keys(until=START, retired=True), True),
]


@pytest.mark.parametrize(("version", "known", "passes"), SIGNATURES)
def test_check_2_signatures(version: RoomVersion, known: ServerKeys, passes: bool) -> None:
    verdict = check_signatures(signed(version), known)
    assert verdict == (None if passes else Dropped(2, f"no valid signature of {A}"))


def test_check_2_asks_for_keys() -> None:
    event = signed(V12)
    assert keys_needed(event.pdu, event.version) == {(A, "ed25519:1")}
    unsigned = evolve(event, pdu={**event.pdu, "signatures": {}})
    assert keys_needed(unsigned.pdu, unsigned.version) == frozenset()
    assert isinstance(check_signatures(unsigned, keys()), Dropped)


def test_check_2_one_wrong_signature_spoils_the_others() -> None:
    event = signed(V12)
    second = {**event.pdu["signatures"][A], "ed25519:2": encode_base64(bytes(64))}
    spoilt = evolve(event, pdu={**event.pdu, "signatures": {A: second}})
    both = {**keys(), (A, "ed25519:2"): ServerKey(get_verify_key(OTHER_KEY), LATER)}
    assert check_signatures(spoilt, keys()) is None
    assert isinstance(check_signatures(spoilt, both), Dropped)


def test_check_3_hash() -> None:
    event = signed(V12)
    assert check_hash(event) is event
    tampered = event_from_pdu({**event.pdu, "content": {"body": "bye"}}, event.event_id, V12)
    redacted = check_hash(tampered)
    assert (redacted.event_id, redacted.content) == (event.event_id, {})
    assert check_signatures(redacted, keys()) is None
    assert check_hash(redacted).pdu == redact(event.pdu, V12)


def test_checks_4_to_6_authorization() -> None:
    room = RoomBuilder(V12).public(ALICE)
    event, outsider = room.draft(ALICE, "m.x", {}), room.draft(BOB, "m.x", {})
    create, state = room.state["m.room.create", ""], AuthState(room.state, V12)
    named = [room.events[event_id] for event_id in event.auth_events]
    assert check_by_auth_events(event, named, rejected=(), create=create) is None
    assert check_by_state_before(event, state) is None
    assert check_by_current_state(event, state) is None
    reason = "the sender is not in the room [rooms/v12 auth 6]"
    levels = named[:1]
    assert check_by_auth_events(outsider, levels, rejected=(), create=create) == Rejected(4, reason)
    assert check_by_state_before(outsider, state) == Rejected(5, reason)
    assert check_by_current_state(outsider, state) == SoftFailed(6, reason)
    refused = check_by_auth_events(event, named, rejected={named[0].event_id}, create=create)
    assert isinstance(refused, Rejected)


VOUCHED = {"membership": "join", "join_authorised_via_users_server": BOB}
B_KEYS = keys(OTHER_KEY, server=B)


def test_the_authorizing_server() -> None:
    """Its signature is asked for wherever it is named [rooms/v12 auth 5.2.1], and for joins by check 2 already."""
    join = signed(V11, VOUCHED, "m.room.member")
    both = event_from_pdu(sign_event(join.pdu, B, OTHER_KEY, V11), join.event_id, V11)
    known = {**keys(), **B_KEYS}
    assert check_signatures(join, known) == Dropped(2, f"no valid signature of {B}")
    assert not authorizer_signed(join, known)
    assert check_signatures(both, known) is None
    assert authorizer_signed(both, known)
    assert keys_needed(both.pdu, both.version) == {(A, "ed25519:1"), (B, "ed25519:1")}
    assert authorizer_signed(signed(V11), {})


def test_check_7_policy() -> None:
    room = RoomBuilder(V12).public(ALICE)
    policy_key = generate_signing_key("policy_server")
    public_key = encode_base64(bytes(get_verify_key(policy_key)))
    content = {"via": "p.example", "public_keys": {"ed25519": public_key}}
    policy = room.send_state(ALICE, "m.room.policy", "", content)
    server = policy_server(policy, {"p.example"})
    event = signed(V12)
    assert check_policy(event, None) is None
    assert check_policy(event, server) == SoftFailed(7, "no valid signature of the policy server p.example")
    recommended = evolve(event, pdu=sign_event(event.pdu, "p.example", policy_key, V12))
    assert check_policy(recommended, server) is None
    assert check_policy(policy, server) is None


POLICIES: list[tuple[dict[str, Any], bool]] = [
    ({"via": "p.example", "public_keys": {"ed25519": "AAAA"}}, True),  # in use, and recommends nothing
    ({"via": "p.example", "public_keys": {"ed25519": "é"}}, True),
    ({"via": "elsewhere.example", "public_keys": {"ed25519": "AAAA"}}, False),
    ({"via": "p.example", "public_keys": {}}, False),
    ({"via": "p.example", "public_keys": []}, False),
    ({"via": 5, "public_keys": {"ed25519": "AAAA"}}, False),
    ({}, False),
]


@pytest.mark.parametrize(("content", "in_use"), POLICIES)
def test_which_room_uses_a_policy_server(content: dict[str, Any], in_use: bool) -> None:
    policy = RoomBuilder(V12).public(ALICE).send_state(ALICE, "m.room.policy", "", content)
    server = policy_server(policy, {"p.example"})
    assert (server is not None) is in_use
    assert policy_server(None, {"p.example"}) is None
    if server is not None:
        assert isinstance(check_policy(signed(V12), server), SoftFailed)
