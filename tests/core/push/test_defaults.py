"""The predefined push rules."""

import json

from homeserver.core.push.defaults import default_push_rules
from homeserver.core.push.rules import IN_TEXT

ORDER = """
master suppress_notices invite_for_me member_event is_user_mention is_room_mention tombstone reaction
room.server_acl suppress_edits | call encrypted_room_one_to_one room_one_to_one message encrypted
"""


def test_the_rules_stand_in_their_order():
    rules = default_push_rules("@alice:a.example")["global"]
    override, underride = (half.split() for half in ORDER.split("|"))
    assert [rule["rule_id"] for rule in rules["override"]] == [f".m.rule.{name}" for name in override]
    assert [rule["rule_id"] for rule in rules["underride"]] == [f".m.rule.{name}" for name in underride]
    assert rules["content"] == rules["room"] == rules["sender"] == []


def test_rules_that_look_into_texts_stand_where_they_stood_until_v1_16() -> None:
    plain = default_push_rules("@alice:a.example")["global"]
    rules = default_push_rules("@alice:a.example", mentions_in_text=True)["global"]
    names = [rule["rule_id"].removeprefix(".m.rule.") for rule in rules["override"]]
    assert names[names.index("is_user_mention") : names.index("tombstone")] == [
        "is_user_mention",
        "contains_display_name",
        "is_room_mention",
        "roomnotif",
    ]
    assert [rule for rule in rules["override"] if rule["rule_id"] not in IN_TEXT] == plain["override"]
    loud = ["notify", {"set_tweak": "sound", "value": "default"}, {"set_tweak": "highlight"}]
    (name,) = rules["content"]
    assert name == {
        "rule_id": ".m.rule.contains_user_name",
        "default": True,
        "enabled": True,
        "pattern": "alice",
        "actions": loud,
    }
    by_id = {rule["rule_id"]: rule for rule in rules["override"]}
    assert by_id[".m.rule.contains_display_name"]["conditions"] == [{"kind": "contains_display_name"}]
    assert by_id[".m.rule.contains_display_name"]["actions"] == loud
    assert by_id[".m.rule.roomnotif"]["conditions"] == [
        {"kind": "event_match", "key": "content.body", "pattern": "@room"},
        {"kind": "sender_notification_permission", "key": "room"},
    ]
    assert by_id[".m.rule.roomnotif"]["actions"] == ["notify", {"set_tweak": "highlight"}]


def test_only_the_master_rule_is_off():
    rules = default_push_rules("@alice:a.example")["global"]
    off = [rule["rule_id"] for rule in rules["override"] + rules["underride"] if not rule["enabled"]]
    assert off == [".m.rule.master"]


def test_the_user_stands_where_users_are_meant():
    text = json.dumps(default_push_rules("@alice:a.example"))
    assert text.count("@alice:a.example") == 2


def test_answers_share_nothing_that_can_be_changed():
    first = default_push_rules("@alice:a.example")
    first["global"]["underride"][-1]["actions"].append("x")
    assert default_push_rules("@alice:a.example")["global"]["underride"][-1]["actions"] == ["notify"]
