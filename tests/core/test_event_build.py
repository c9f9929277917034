"""From a draft to a hashed and signed event [ss "Adding hashes and signatures to outgoing events"]."""

from typing import Any

import orjson
import pytest
from attrs import evolve
from hypothesis import given, settings
from signedjson.key import decode_signing_key_base64, get_verify_key

from homeserver.core import canonical_json
from homeserver.core.event_build import Built, Draft, Place, Signer, build_event
from homeserver.core.event_format import EventTooLarge, parse_pdu
from homeserver.core.hashing import content_hash_holds
from homeserver.core.room_versions import V1, V10, V11, V12, RoomVersion
from homeserver.core.signing import signature_holds
from tests.kit.json_values import strict_objects
from tests.kit.verdicts import ALL

KEY = decode_signing_key_base64("ed25519", "a_key", "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")
SIGNER = Signer("a.example", KEY)
HASH = "B" * 43
ALICE = "@alice:a.example"


def built(version: RoomVersion, *, kind: str = "m.room.message", **changes: Any) -> Built:
    old, founds = version.event_id_in_pdu, kind == "m.room.create"
    link = "$l:a.example" if old else f"${HASH}"
    room_id = f"!{HASH}" if version.room_id_is_create_hash else "!room:a.example"
    draft = Draft(
        type=kind,
        sender=ALICE,
        content={"body": "hello"},
        origin_server_ts=1_700_000_000_000,
        room_id=None if founds and version.room_id_is_create_hash else room_id,
        state_key="" if founds else None,
    )
    place = Place(
        version=version,
        prev_events=() if founds else (link,),
        auth_events=() if founds else (link,),
        depth=1 if founds else 7,
        reference_hashes={link: HASH} if old else {},
        event_id="$chosen:a.example" if old else None,
    )
    return build_event(evolve(draft, **changes), place, SIGNER)


@pytest.mark.parametrize("kind", ["m.room.message", "m.room.create"])
@pytest.mark.parametrize("version", ALL, ids=lambda version: f"v{version.name}")
def test_others_read_what_was_built(version: RoomVersion, kind: str) -> None:
    ours = built(version, kind=kind)
    theirs = parse_pdu(orjson.loads(ours.json), version)
    for field in ("event_id", "room_id", "type", "sender", "state_key", "content", "depth", "pdu"):
        assert getattr(ours.event, field) == getattr(theirs, field), field
    assert (ours.event.prev_events, ours.event.auth_events) == (theirs.prev_events, theirs.auth_events)
    assert ours.json == canonical_json.encode(theirs.pdu)
    assert content_hash_holds(theirs.pdu, version)
    assert signature_holds(theirs.pdu, "a.example", get_verify_key(KEY), version)


def test_a_create_event_may_be_its_room() -> None:
    event = built(V12, kind="m.room.create").event
    assert "room_id" not in event.pdu
    assert event.room_id == "!" + event.event_id[1:]


def test_where_a_redaction_says_what_it_redacts() -> None:
    """At the top level until v10, in the content since v11; drafts say it the new way."""
    content = {"redacts": "$target", "reason": "spam"}
    for version in (V1, V10, V11, V12):
        event = built(version, kind="m.room.redaction", content=content).event
        assert event.redacts == "$target"
        assert ("redacts" in event.pdu) is not version.redacts_in_content
        assert ("redacts" in event.content) is version.redacts_in_content
    assert content == {"redacts": "$target", "reason": "spam"}


def test_limits_hold_for_our_own_events() -> None:
    with pytest.raises(EventTooLarge):
        built(V12, content={"body": "x" * 65536})
    with pytest.raises(EventTooLarge):
        built(V12, kind="t" * 256)


@pytest.mark.parametrize("content", [{"n": 1.5}, {"n": 2**53}, {"n": "\ud800"}, {1: 1}])
def test_what_we_say_is_strict_in_every_version(content: dict[Any, Any]) -> None:
    for version in (V1, V12):
        with pytest.raises(canonical_json.NotCanonical):
            built(version, content=content)


@settings(max_examples=40)
@given(strict_objects)
def test_any_content_can_be_said(content: dict[str, Any]) -> None:
    ours = built(V11, content=content)
    assert parse_pdu(orjson.loads(ours.json), V11).event_id == ours.event.event_id
