"""Hashes and signatures: the specification's test vectors, and what must always hold."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.exceptions import CryptoError
from signedjson.key import decode_signing_key_base64, get_verify_key
from signedjson.sign import sign_json

from homeserver.core.canonical_json import NotCanonical
from homeserver.core.hashing import content_hash, content_hash_holds, event_id_of, reference_hash
from homeserver.core.redaction import redact
from homeserver.core.room_versions import ROOM_VERSIONS, V1, V4, V8, V11, V12, RoomVersion
from homeserver.core.signing import must_have_signed, sign_event, signature_holds, signature_verifies
from tests.kit.json_values import strict_objects

# [appendices "Cryptographic Test Vectors"]
KEY = decode_signing_key_base64("ed25519", "1", "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")
SERVER = "domain"
VERSIONS = list(ROOM_VERSIONS.values())

SIGNED_JSON = [
    ({}, "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"),
    (
        {"one": 1, "two": "Two"},
        "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
    ),
]
MINIMAL = {
    "room_id": "!x:domain",
    "sender": "@a:domain",
    "origin": "domain",
    "origin_server_ts": 1000000,
    "signatures": {},
    "hashes": {},
    "type": "X",
    "content": {},
    "prev_events": [],
    "auth_events": [],
    "depth": 3,
    "unsigned": {"age_ts": 1000000},
}
REDACTABLE = {
    "content": {"body": "Here is the message content"},
    "event_id": "$0:domain",
    "origin": "domain",
    "origin_server_ts": 1000000,
    "type": "m.room.message",
    "room_id": "!r:domain",
    "sender": "@u:domain",
    "signatures": {},
    "unsigned": {"age_ts": 1000000},
}
SIGNED_EVENTS = [
    (
        MINIMAL,
        "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos",
        "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg",
    ),
    (
        REDACTABLE,
        "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g",
        "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA",
    ),
]


@pytest.mark.parametrize(("value", "signature"), SIGNED_JSON)
def test_signing_json(value: dict[str, Any], signature: str) -> None:
    assert sign_json(dict(value), SERVER, KEY)["signatures"] == {SERVER: {"ed25519:1": signature}}


@pytest.mark.parametrize(("event", "sha256", "signature"), SIGNED_EVENTS)
def test_signing_events(event: dict[str, Any], sha256: str, signature: str) -> None:
    hashed = {**event, "hashes": {"sha256": content_hash(event, V1)}}
    signed = sign_event(hashed, SERVER, KEY, V1)
    assert hashed["hashes"]["sha256"] == sha256
    assert signed["signatures"] == {SERVER: {"ed25519:1": signature}}
    assert content_hash_holds(signed, V1)
    assert signature_holds(signed, SERVER, get_verify_key(KEY), V1)


few = settings(max_examples=40)
types = st.sampled_from(
    [
        "m.room.message",
        "m.room.create",
        "m.room.member",
        "m.room.power_levels",
        "m.room.join_rules",
        "m.room.redaction",
        "m.room.aliases",
        "m.room.history_visibility",
    ]
)
contents = strict_objects | st.fixed_dictionaries(
    {},
    optional={
        key: strict_objects | st.integers(0, 100) | st.text()
        for key in (
            "membership",
            "third_party_invite",
            "users",
            "invite",
            "creator",
            "aliases",
            "redacts",
            "allow",
        )
    },
)
pdus = st.builds(
    lambda pdu, extra: {**extra, **pdu},
    st.fixed_dictionaries({"type": types, "content": contents, "sender": st.just("@a:domain")}),
    strict_objects,
)
versions = st.sampled_from(VERSIONS)


@few
@given(pdus, versions)
def test_redacting_twice_equals_once(pdu: dict[str, Any], version: RoomVersion) -> None:
    once = redact(pdu, version)
    assert redact(once, version) == once


@few
@given(pdus, versions, strict_objects)
def test_what_is_unsigned_changes_no_hash(
    pdu: dict[str, Any], version: RoomVersion, unsigned: dict[str, Any]
) -> None:
    changed = {**pdu, "unsigned": unsigned}
    assert content_hash(pdu, version) == content_hash(changed, version)
    assert reference_hash(pdu, version) == reference_hash(changed, version)


@few
@given(pdus, versions)
def test_redaction_changes_neither_id_nor_signature(pdu: dict[str, Any], version: RoomVersion) -> None:
    signed = sign_event({**pdu, "event_id": "$e:domain", "signatures": {}}, SERVER, KEY, version)
    redacted = redact(signed, version)
    assert event_id_of(signed, version) == event_id_of(redacted, version)
    assert signature_holds(signed, SERVER, get_verify_key(KEY), version)
    assert signature_holds(redacted, SERVER, get_verify_key(KEY), version)


@few
@given(pdus, versions, st.text(), strict_objects)
def test_a_changed_event_is_not_signed(
    pdu: dict[str, Any], version: RoomVersion, sender: str, signatures: dict[str, Any]
) -> None:
    signed = sign_event({**pdu, "signatures": {}}, SERVER, KEY, version)
    forged = {**signed, "sender": sender}
    assert signature_holds(forged, SERVER, get_verify_key(KEY), version) == (sender == pdu["sender"])
    assert not signature_holds({**signed, "signatures": signatures}, SERVER, get_verify_key(KEY), version)


@few
@given(st.none() | st.integers() | st.text() | st.just("A" * 86))
def test_malformed_signatures_are_none(signature: Any) -> None:
    assert not signature_verifies(b"message", signature, get_verify_key(KEY))


@few
@given(strict_objects, versions)
def test_hashing_anything_raises_only_its_own_error(value: dict[str, Any], version: RoomVersion) -> None:
    try:
        content_hash_holds(value, version)
        reference_hash(value, version)
    except (NotCanonical, CryptoError):
        pytest.fail("strict JSON always has a hash")


@pytest.mark.parametrize(
    "sha256", [None, 5, "", "é", "AAAA", [], "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncoA"]
)
def test_wrong_content_hashes(sha256: Any) -> None:
    assert not content_hash_holds({**MINIMAL, "hashes": {"sha256": sha256}}, V1)
    assert not content_hash_holds({**MINIMAL, "hashes": sha256}, V1)


def test_content_hashes_are_compared_as_bytes() -> None:
    padded = "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos="
    assert content_hash_holds({**MINIMAL, "hashes": {"sha256": padded}}, V1)


def member(membership: str, **content: Any) -> dict[str, Any]:
    return {
        "type": "m.room.member",
        "sender": "@u:one",
        "event_id": "$e:two",
        "content": {"membership": membership, **content},
    }


JOIN = member("join", join_authorised_via_users_server="@v:three")
MUST_SIGN = [
    (V1, member("join"), {"one", "two"}),  # until v2 the event id's server too
    (V4, member("join"), {"one"}),
    (V4, JOIN, {"one"}),
    (V8, JOIN, {"one", "three"}),
    (V12, member("leave", join_authorised_via_users_server="@v:three"), {"one"}),
    (V11, member("invite", third_party_invite={}), set()),
    (V1, member("invite", third_party_invite={}), {"two"}),
]


@pytest.mark.parametrize(("version", "pdu", "servers"), MUST_SIGN)
def test_who_must_have_signed(version: RoomVersion, pdu: dict[str, Any], servers: set[str]) -> None:
    assert must_have_signed(pdu, version) == servers
