"""Which rule of a user an event meets first, and what is done then [cs "Push Rules"].

Rules are compiled once for all events of a room. What cannot match in that room is left out, so that users whose
rules differ only in what concerns other rooms are one group, and one evaluation does for all of them.
"""

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import orjson
from attrs import field, frozen

from homeserver.core.canonical_json import snug
from homeserver.core.globs import glob
from homeserver.core.push.conditions import (
    THREAD_CONDITIONS,
    Condition,
    Facts,
    body_holds,
    compiled,
    unsaid,
)
from homeserver.core.push.rules import CONTENT, IN_TEXT, KINDS, PERSONAL, ROOM, SENDER, Rule, Ruleset

NOTIFY: Final = "notify"
MAX_COMPILED: Final = 20_000  # rules; those in use live with their rooms
DISPLAY_NAME: Final = "contains_display_name"
MARK_UNREAD: Final = "org.matrix.msc2625.mark_unread"  # what notifies does so anyway


@frozen
class Actions:
    """What a rule does for an event that it matches. `as_json` is what clients and push gateways are told."""

    notify: bool
    highlight: bool
    as_json: str

    @property
    def marks(self) -> bool:
        """Does the event count as unread, and no more? [MSC2625]"""
        return self.as_json == MARKS

    @property
    def tweaks(self) -> dict[str, Any]:
        """The tweaks that are set."""
        told = orjson.loads(self.as_json)
        return {item["set_tweak"]: item.get("value", True) for item in told if isinstance(item, dict)}


MARKS: Final = f'["{MARK_UNREAD}"]'
MARKED: Final = Actions(notify=False, highlight=False, as_json=MARKS)
SILENCE: Final = Actions(notify=False, highlight=False, as_json="[]")


@frozen(eq=False)
class CompiledRule:
    """An enabled rule. All conditions must hold; `type` is the one type of events, in lower case, that it is about.

    Whether it matches depends on the user's display name if it `names_reader`, on the user's subscriptions if it is
    `about_threads`.
    """

    rule_id: str
    conditions: tuple[Condition, ...]
    actions: Actions
    type: str | None = None
    names_reader: bool = False
    about_threads: bool = False

    @property
    def is_personal(self) -> bool:
        """May it match for one user and not for another?"""
        return self.names_reader or self.about_threads

    def matches(self, facts: Facts) -> bool:
        """Does the event meet the rule?"""
        for condition in self.conditions:  # noqa: SIM110 (half the time of all() and a generator)
            if not condition(facts):
                return False
        return True


@frozen(eq=False)
class CompiledRules:
    """The enabled rules that may match in one room, the most important first."""

    rules: tuple[CompiledRule, ...]
    needs_display_name: bool = False
    needs_subscription: bool = False
    _by_type: Mapping[str | None, tuple[CompiledRule, ...]] = field(init=False)

    @_by_type.default
    def _rules_by_type(self) -> Mapping[str | None, tuple[CompiledRule, ...]]:
        kinds = {rule.type for rule in self.rules} | {None}
        return {kind: tuple(rule for rule in self.rules if rule.type in (None, kind)) for kind in kinds}

    def matched(self, facts: Facts) -> CompiledRule | None:
        """The rule that decides."""
        kind = facts.event["type"].lower()
        judged = facts.judged
        for rule in self._by_type.get(kind) or self._by_type[None]:
            matches = judged.get(rule)
            if matches is None:
                matches = rule.matches(facts)
                if not rule.is_personal:
                    judged[rule] = matches
            if matches:
                return rule
        return None

    def actions(self, facts: Facts) -> Actions:
        """What is to be done; nothing where no rule matches."""
        rule = self.matched(facts)
        return SILENCE if rule is None else rule.actions


@frozen
class Selected:
    """The enabled rules of a user that may match in one room, not yet compiled. Equal `key`: equal rules."""

    rules: tuple[tuple[str, Rule], ...]
    key: bytes = field(init=False)

    @key.default
    def _key(self) -> bytes:
        return snug(orjson.dumps([_told(kind, rule) for kind, rule in self.rules]))

    def compiled(self) -> CompiledRules:
        """As functions. Equal rules are one object, so that an event is held against each of them once."""
        rules = tuple(_compiled(snug(orjson.dumps(_told(kind, rule)))) for kind, rule in self.rules)
        return CompiledRules(
            rules, any(rule.names_reader for rule in rules), any(rule.about_threads for rule in rules)
        )


def select(rules: Ruleset, room_id: str | None = None, *, personal: bool = True) -> Selected:
    """The rules that may match in a room (None: in any); without `personal`, for events that do not name the user."""
    return Selected(tuple(_selected(rules, room_id, personal)))


def conditions_of(kind: str, rule: Rule) -> tuple[Condition, ...]:
    """The conditions of a rule, also those that its kind or its name implies."""
    stated = _conditions_of_kind(kind, rule)
    return (unsaid, *stated) if rule.rule_id in IN_TEXT else stated


def _conditions_of_kind(kind: str, rule: Rule) -> tuple[Condition, ...]:
    if kind == CONTENT:
        return (body_holds(rule.pattern),) if rule.pattern is not None else (compiled(None),)
    if kind in (ROOM, SENDER):
        key = "room_id" if kind == ROOM else "sender"
        return (compiled({"kind": "event_property_is", "key": key, "value": rule.rule_id}),)
    return tuple(map(compiled, rule.conditions))


def actions_of(rule: Rule) -> Actions:
    """A rule's actions without those that say nothing: retired ones, and a highlight that is off."""
    if MARK_UNREAD in rule.actions and NOTIFY not in rule.actions:
        return MARKED
    told: list[Any] = []
    highlight = False
    for action in rule.actions:
        if action == NOTIFY:
            told.append(action)
        elif isinstance(action, Mapping) and isinstance(action.get("set_tweak"), str):
            if action["set_tweak"] == "highlight":
                if action.get("value", True) is False:
                    continue
                highlight = True
            told.append(action)
    return Actions(NOTIFY in told, highlight, orjson.dumps(told).decode())


def _told(kind: str, rule: Rule) -> list[Any]:
    """All of a rule that matters."""
    return [kind, rule.rule_id, rule.actions, rule.conditions, rule.pattern]


@lru_cache(maxsize=MAX_COMPILED)
def _compiled(told: bytes) -> CompiledRule:
    kind, rule_id, actions, conditions, pattern = orjson.loads(told)
    rule = Rule(rule_id, False, True, tuple(actions), tuple(conditions), pattern)
    return CompiledRule(
        rule_id,
        conditions_of(kind, rule),
        actions_of(rule),
        _type_of(rule),
        names_reader=_has_condition(rule, {DISPLAY_NAME}),
        about_threads=_has_condition(rule, THREAD_CONDITIONS),
    )


def _type_of(rule: Rule) -> str | None:
    for condition in rule.conditions:
        if isinstance(condition, Mapping) and condition.get("kind") == "event_match":
            key, pattern = condition.get("key"), condition.get("pattern")
            if key == "type" and isinstance(pattern, str) and "*" not in pattern and "?" not in pattern:
                return pattern.lower()
    return None


def _selected(rules: Ruleset, room_id: str | None, personal: bool) -> Iterator[tuple[str, Rule]]:
    for kind in KINDS:
        for rule in rules.kinds[kind]:
            if not rule.enabled or (not personal and rule.default and rule.rule_id in PERSONAL):
                continue
            if room_id is None or _may_match_in(kind, rule, room_id):
                yield kind, rule


def _may_match_in(kind: str, rule: Rule, room_id: str) -> bool:
    if kind == ROOM:
        return rule.rule_id == room_id
    return not any(_is_about_other_room(condition, room_id) for condition in rule.conditions)


def _is_about_other_room(condition: Any, room_id: str) -> bool:
    if not isinstance(condition, Mapping) or condition.get("key") != "room_id":
        return False
    if condition.get("kind") == "event_match" and isinstance(condition.get("pattern"), str):
        return not glob(condition["pattern"], ignore_case=True).matches(room_id)
    return condition.get("kind") == "event_property_is" and condition.get("value") != room_id


def _has_condition(rule: Rule, kinds: Collection[str]) -> bool:
    return any(
        isinstance(one, Mapping) and isinstance(one.get("kind"), str) and one["kind"] in kinds
        for one in rule.conditions
    )
