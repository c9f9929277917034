"""The predefined push rules."""

import json

from homeserver.core.push.defaults import default_push_rules

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
