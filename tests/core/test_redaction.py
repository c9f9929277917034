"""What survives a redaction: a row for each thing that some room version treats differently [rooms "Redactions"]."""

from typing import Any

import pytest

from homeserver.core.redaction import redact
from homeserver.core.room_versions import RoomVersion
from tests.kit.verdicts import ALL, since, until

Versions = tuple[RoomVersion, ...]
NONE: Versions = ()

CONTENT_ROWS: list[tuple[str, str, Versions]] = [  # type, key of the content, versions that keep it
    ("m.room.message", "body", NONE),
    ("m.room.member", "membership", ALL),
    ("m.room.member", "displayname", NONE),
    ("m.room.member", "join_authorised_via_users_server", since(9)),
    ("m.room.create", "creator", ALL),
    ("m.room.create", "m.federate", since(11)),
    ("m.room.create", "anything", since(11)),
    ("m.room.join_rules", "join_rule", ALL),
    ("m.room.join_rules", "allow", since(8)),
    *(
        ("m.room.power_levels", key, ALL)
        for key in "ban events events_default kick redact state_default users users_default".split()
    ),
    ("m.room.power_levels", "invite", since(11)),
    ("m.room.power_levels", "notifications", NONE),
    ("m.room.aliases", "aliases", until(5)),
    ("m.room.history_visibility", "history_visibility", ALL),
    ("m.room.redaction", "redacts", since(11)),
    ("m.room.redaction", "reason", NONE),
]


@pytest.mark.parametrize(("kind", "key", "keepers"), CONTENT_ROWS)
def test_content(kind: str, key: str, keepers: Versions) -> None:
    for version in ALL:
        kept = redact({"type": kind, "content": {key: "value"}}, version)["content"]
        assert kept == ({key: "value"} if version in keepers else {}), version.name


TOP_ROWS: list[tuple[str, Versions]] = [
    *(
        (key, ALL)
        for key in (
            "event_id room_id sender state_key hashes signatures depth prev_events auth_events origin_server_ts"
        ).split()
    ),
    *((key, until(10)) for key in ("prev_state", "origin", "membership")),
    *((key, NONE) for key in ("redacts", "unsigned", "age_ts", "anything")),
]


@pytest.mark.parametrize(("key", "keepers"), TOP_ROWS)
def test_top_level(key: str, keepers: Versions) -> None:
    for version in ALL:
        kept = redact({"type": "m.x", "content": {}, key: "value"}, version)
        assert (key in kept) is (version in keepers), version.name


SIGNED = {"signed": {"mxid": "@a:b"}, "display_name": "a"}
NESTED_ROWS: list[tuple[Any, dict[str, Any]]] = [
    (SIGNED, {"third_party_invite": {"signed": {"mxid": "@a:b"}}}),
    ({"display_name": "a"}, {}),
    ("text", {}),
]


@pytest.mark.parametrize(("invite", "kept"), NESTED_ROWS)
def test_third_party_invite(invite: Any, kept: dict[str, Any]) -> None:
    """Of it only `signed` stays, since v11."""
    for version in ALL:
        redacted = redact({"type": "m.room.member", "content": {"third_party_invite": invite}}, version)
        assert redacted["content"] == (kept if version in since(11) else {}), version.name


def test_malformed_content_becomes_empty() -> None:
    for version in ALL:
        assert redact({"type": "m.room.create", "content": "text"}, version)["content"] == {}
