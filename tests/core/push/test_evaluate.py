"""Which users are one group, and that nothing which users or servers write is too much for rules."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.push.conditions import Facts, compiled
from homeserver.core.push.evaluate import MARK_UNREAD, actions_of, select
from homeserver.core.push.paths import ABSENT, path_of, value_at
from homeserver.core.push.rules import PERSONAL, Place, Rule, predefined
from homeserver.services.push_evaluation import LOOKED_AT
from tests.kit.json_values import any_values

PREDEFINED = predefined()
ALICE, BOB, ROOM = "@alice:a.example", "@bob:a.example", "!room:a.example"


def own(name: str, *conditions: Any, actions: tuple[Any, ...] = ("notify",)) -> Rule:
    return Rule(name, default=False, enabled=True, actions=actions, conditions=conditions)


def about(room_id: str) -> dict[str, Any]:
    return {"kind": "event_match", "key": "room_id", "pattern": room_id}


def test_who_differs_in_another_room_only_is_not_different() -> None:
    alice, bob = PREDEFINED.rules(ALICE), PREDEFINED.rules(BOB)
    alice = alice.put("override", own("!x:a.example", about("!x:a.example")), Place())
    alice = alice.put("room", own("!y:a.example"), Place())
    assert select(alice, ROOM, personal=False).key == select(bob, ROOM, personal=False).key
    assert select(alice, ROOM).key != select(bob, ROOM).key
    assert (
        select(alice, "!x:a.example", personal=False).key != select(bob, "!x:a.example", personal=False).key
    )


@pytest.mark.parametrize(
    ("actions", "told", "notify", "highlight"),
    [
        ((), [], False, False),
        (("dont_notify", "coalesce"), [], False, False),
        (("notify", {"set_tweak": "highlight", "value": False}), ["notify"], True, False),
        (("notify", {"set_tweak": "highlight"}), ["notify", {"set_tweak": "highlight"}], True, True),
        ((1, None, {"x": 1}, {"set_tweak": 1}, ["notify"]), [], False, False),
        ((MARK_UNREAD, {"set_tweak": "highlight"}), [MARK_UNREAD], False, False),
        ((MARK_UNREAD, "notify"), ["notify"], True, False),
    ],
)
def test_actions_that_say_something(
    actions: tuple[Any, ...], told: list[Any], notify: bool, highlight: bool
) -> None:
    made = actions_of(own("x", actions=actions))
    assert (orjson.loads(made.as_json), made.notify, made.highlight) == (told, notify, highlight)
    assert made.marks == (told == [MARK_UNREAD])


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a.b", ("a", "b")),
        (r"a\.b.c", ("a.b", "c")),
        (r"a\\.b", ("a\\", "b")),
        (r"a\x", ("a\\x",)),
        ("a\\", ("a\\",)),
        ("", ("",)),
        ("a..b", ("a", "", "b")),
    ],
)
def test_paths(key: str, path: tuple[str, ...]) -> None:
    assert path_of(key) == path


def test_null_is_something() -> None:
    assert value_at({"a": {"b": None}}, ("a", "b")) is None
    assert value_at({"a": {"b": None}}, ("a", "c")) is ABSENT
    assert value_at({"a": [1]}, ("a", "0")) is ABSENT


_conditions = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(
            [
                "event_match",
                "event_property_is",
                "event_property_contains",
                "contains_display_name",
                "room_member_count",
                "sender_notification_permission",
            ]
        )
    },
    optional={
        "key": st.sampled_from(["content.body", "content.a", "type", "room"]) | any_values,
        "pattern": st.text("ab*? é", max_size=8) | any_values,
        "value": any_values,
        "is": st.sampled_from(["2", ">1", "=="]) | any_values,
    },
)


@given(
    condition=_conditions | any_values,
    content=st.dictionaries(st.sampled_from(["body", "a"]), any_values),
)
def test_conditions_never_raise(condition: Any, content: dict[str, Any]) -> None:
    facts = Facts({"type": "m.room.message", "content": content}, 2, lambda _: True, "é a")
    assert compiled(condition)(facts) in (True, False)


def test_hostile_patterns_cost_little() -> None:
    facts = Facts({"content": {"body": "a" * 60_000}}, 2, lambda _: True)
    for pattern in ("*a" * 400 + "b", "a?" * 400 + "b", "?" * 900 + "*b", "*" * 1000, "a*" * 500):
        compiled({"kind": "event_match", "key": "content.body", "pattern": pattern})(facts)
        compiled({"kind": "event_match", "key": "content.x", "pattern": pattern})(facts)


@pytest.mark.parametrize(("mentions_in_text", "more"), [(False, set()), (True, {"content.body"})])
def test_what_is_remembered_of_plain_events_is_all_that_predefined_rules_look_at(
    mentions_in_text: bool, more: set[str]
) -> None:
    kinds = predefined(mentions_in_text=mentions_in_text).rules(ALICE).kinds
    rules = [rule for kind in kinds.values() for rule in kind]
    conditions = [
        condition for rule in rules if rule.rule_id not in PERSONAL for condition in rule.conditions
    ]
    keys = {
        one["key"] for one in conditions if one["kind"] != "sender_notification_permission" and "key" in one
    }
    assert keys == LOOKED_AT | more
    assert {one["is"] for one in conditions if one["kind"] == "room_member_count"} == {"2"}


@pytest.mark.parametrize(
    ("content", "rule_id"),
    [
        ({"body": "hi Alice A"}, ".m.rule.contains_display_name"),
        ({"body": "hi alice!"}, ".m.rule.contains_user_name"),
        ({"body": "hi @room"}, ".m.rule.roomnotif"),
        ({"body": "hi @rooms"}, None),
        ({"body": "hi alices"}, None),
        ({"body": "Alice A"} | {"m.mentions": {}}, None),  # the event says itself whom it mentions
        ({"body": "alice @room"} | {"m.mentions": 1}, None),
        ({"body": "Alice A"} | {"m.mentions": {"user_ids": [ALICE]}}, ".m.rule.is_user_mention"),
        ({"body": "Alice A", "msgtype": "m.notice"}, ".m.rule.suppress_notices"),
        ({"body": "Alice A @room"}, ".m.rule.contains_display_name"),
        ({"body": ["alice"]}, None),
    ],
)
def test_mentions_in_texts(content: dict[str, Any], rule_id: str | None) -> None:
    facts = Facts({"type": "x", "content": content}, 3, lambda kind: kind == "room", "Alice A")
    found = select(predefined(mentions_in_text=True).rules(ALICE)).compiled().matched(facts)
    assert (found and found.rule_id) == rule_id
    without = select(PREDEFINED.rules(ALICE)).compiled().matched(facts.of_reader("Alice A"))
    assert (without and without.rule_id) in (None, ".m.rule.is_user_mention", ".m.rule.suppress_notices")
