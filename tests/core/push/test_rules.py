"""Reading and changing a user's push rules."""

import pytest
from attrs import evolve

from homeserver.core.errors import MatrixError
from homeserver.core.push.defaults import default_push_rules
from homeserver.core.push.rules import KINDS, Place, Rule, Ruleset, predefined

PREDEFINED = predefined()
ALICE = "@alice:a.example"


def own(name: str, *actions: object) -> Rule:
    return Rule(name, default=False, enabled=True, actions=actions or ("notify",))


def ids(rules: Ruleset, kind: str) -> list[str]:
    return [rule.rule_id for rule in rules.kinds[kind] if not rule.default]


def three(kind: str) -> Ruleset:
    rules = PREDEFINED.rules(ALICE)
    for name in "cba":
        rules = rules.put(kind, own(name), Place())
    return rules


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_rule_is_the_most_important_of_the_users(kind: str) -> None:
    assert ids(three(kind), kind) == ["a", "b", "c"]


def test_only_the_master_rule_stands_above_the_users() -> None:
    assert [rule.rule_id for rule in three("override").kinds["override"]][:3] == [".m.rule.master", "a", "b"]
    assert three("underride").kinds["underride"][0].rule_id == "a"


@pytest.mark.parametrize(
    ("name", "place", "order"),
    [
        ("x", Place(before="b"), "axbc"),
        ("x", Place(after="b"), "abxc"),
        ("x", Place(before="c", after="a"), "abxc"),  # `before` counts where there are both
        ("c", Place(before="a"), "cab"),  # one that is there moves
        ("a", Place(after="c"), "bca"),
        ("b", Place(), "abc"),  # or stays
    ],
)
def test_places(name: str, place: Place, order: str) -> None:
    assert ids(three("room").put("room", own(name), place), "room") == list(order)


def test_an_updated_rule_stays_switched_off() -> None:
    off = three("room").changed("room", "b", lambda rule: evolve(rule, enabled=False))
    updated = off.put("room", own("b", "notify", {"set_tweak": "sound", "value": "x"}), Place())
    assert updated.get("room", "b").enabled is False
    assert len(updated.get("room", "b").actions) == 2


@pytest.mark.parametrize("beside", ["nothing", ".m.rule.call"])
def test_places_that_are_none(beside: str) -> None:
    with pytest.raises(MatrixError) as refused:
        three("underride").put("underride", own("x"), Place(before=beside))
    assert refused.value.status == 400


def test_predefined_rules_cannot_be_deleted() -> None:
    with pytest.raises(MatrixError):
        PREDEFINED.rules(ALICE).without("override", ".m.rule.master")
    with pytest.raises(MatrixError):
        PREDEFINED.rules(ALICE).without("room", "!unknown")
    assert ids(three("sender").without("sender", "b"), "sender") == ["a", "c"]


def test_what_is_kept_is_read_with_the_predefined_rules_of_today() -> None:
    rules = three("override").changed("underride", ".m.rule.call", lambda rule: evolve(rule, actions=()))
    kept = rules.as_content()
    assert PREDEFINED.with_kept(ALICE, kept).as_content() == kept
    gone, new = (
        kept["global"]["override"].pop(),
        {"rule_id": ".m.rule.of_old", "default": True, "actions": []},
    )
    kept["global"]["override"].insert(0, new)
    again = PREDEFINED.with_kept(ALICE, kept).as_content()["global"]["override"]
    assert gone in again
    assert ".m.rule.of_old" not in [rule["rule_id"] for rule in again]


@pytest.mark.parametrize("content", [{}, {"global": 1}, {"global": {"room": 1, "override": [1, {}]}}])
def test_what_is_kept_may_be_anything(content: dict[str, object]) -> None:
    assert PREDEFINED.with_kept(ALICE, content) == PREDEFINED.rules(ALICE)


def test_rules_that_look_into_texts_come_and_go_with_what_the_server_offers() -> None:
    with_texts, name = predefined(mentions_in_text=True), ".m.rule.contains_user_name"
    rules = with_texts.rules(ALICE)
    assert rules.as_content() == default_push_rules(ALICE, mentions_in_text=True)
    assert with_texts.in_text
    assert not PREDEFINED.in_text
    changed = rules.put("content", own("x"), Place())
    changed = changed.changed("content", name, lambda rule: evolve(rule, enabled=False))
    kept = changed.as_content()
    assert with_texts.with_kept(ALICE, kept) == changed
    assert [rule.rule_id for rule in PREDEFINED.with_kept(ALICE, kept).kinds["content"]] == ["x"]
    again = with_texts.with_kept(ALICE, PREDEFINED.with_kept(ALICE, kept).as_content())
    assert [rule.rule_id for rule in again.kinds["content"]] == ["x", name]
