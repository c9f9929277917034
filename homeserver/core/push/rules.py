"""A user's push rules as data: what a client may read and change of them [cs "Push Rules API"].

Kept as m.push_rules, the way clients see them. The predefined rules of what was kept are those of today: a rule that
the specification has added since is there, one that it has dropped is gone, and what the user changed stays.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import evolve, frozen

from homeserver.core.errors import MatrixError, invalid_param, not_found
from homeserver.core.ids import localpart_of
from homeserver.core.push.defaults import (
    CONTAINS_DISPLAY_NAME,
    CONTAINS_USER_NAME,
    ROOMNOTIF,
    default_push_rules,
    thread_rules,
)

OVERRIDE, CONTENT, ROOM, SENDER, UNDERRIDE = "override", "content", "room", "sender", "underride"
POSTCONTENT: Final = "postcontent"  # predefined rules about threads, of who subscribes to threads [MSC4306]
KINDS: Final = (OVERRIDE, CONTENT, POSTCONTENT, ROOM, SENDER, UNDERRIDE)  # in the order they are checked
CONDITIONAL: Final = frozenset({OVERRIDE, POSTCONTENT, UNDERRIDE})
MASTER: Final = ".m.rule.master"
# The predefined rules that find mentions in what a message says, until v1.16; not where it has `m.mentions`.
IN_TEXT: Final = frozenset({CONTAINS_DISPLAY_NAME, CONTAINS_USER_NAME, ROOMNOTIF})
# The predefined rules that are about the user alone: they match for whom an event names.
PERSONAL: Final = frozenset(
    {".m.rule.invite_for_me", ".m.rule.is_user_mention", CONTAINS_DISPLAY_NAME, CONTAINS_USER_NAME}
)
_SOMEBODY: Final = "@:"  # nobody's id
MAX_RULES = 2_000  # of one user: every event of a room may be held against all of them


@frozen
class Rule:
    """One rule. `conditions` belong to the conditional kinds, `pattern` to content."""

    rule_id: str
    default: bool
    enabled: bool
    actions: tuple[Any, ...]
    conditions: tuple[Any, ...] = ()
    pattern: str | None = None

    def as_json(self, kind: str) -> dict[str, Any]:
        """The rule as clients see it."""
        told: dict[str, Any] = {
            "rule_id": self.rule_id,
            "default": self.default,
            "enabled": self.enabled,
            "actions": list(self.actions),
        }
        if kind in CONDITIONAL:
            told["conditions"] = list(self.conditions)
        if kind == CONTENT:
            told["pattern"] = self.pattern
        return told


@frozen
class Place:
    """Where a new rule goes: the next more important one, or the next less important one than another."""

    before: str | None = None
    after: str | None = None


@frozen
class Ruleset:
    """All rules of a user, by kind, the most important first."""

    kinds: Mapping[str, tuple[Rule, ...]]

    def as_content(self) -> dict[str, Any]:
        """The content of m.push_rules."""
        kinds = [kind for kind in KINDS if kind != POSTCONTENT or self.kinds[kind]]
        return {"global": {kind: [rule.as_json(kind) for rule in self.kinds[kind]] for kind in kinds}}

    def with_threads(self) -> "Ruleset":
        """With the rules about threads that the user is, or is not, subscribed to [MSC4306 "New Push Rules"]."""
        return self if self.kinds[POSTCONTENT] else Ruleset({**self.kinds, POSTCONTENT: _THREAD_RULES})

    def get(self, kind: str, rule_id: str) -> Rule:
        """One rule. Raises M_NOT_FOUND."""
        for rule in self.kinds.get(kind, ()):
            if rule.rule_id == rule_id:
                return rule
        raise not_found("The push rule was not found")

    def put(self, kind: str, rule: Rule, place: Place) -> "Ruleset":
        """With a rule of the user, new or in the stead of the one of its id [cs "Push Rules API"]."""
        rules = list(self.kinds[kind])
        index = next((i for i, one in enumerate(rules) if one.rule_id == rule.rule_id), None)
        if index is not None:
            rule = evolve(rule, enabled=rules[index].enabled)
            rules.pop(index)
        beside = place.before if place.before is not None else place.after
        if beside is not None:
            index = _index_of_own(rules, beside) + (place.before is None)
        elif index is None:
            index = 1 if rules and rules[0].rule_id == MASTER else 0  # master stays above them all
        rules.insert(index, rule)
        return self._with(kind, rules)

    def without(self, kind: str, rule_id: str) -> "Ruleset":
        """Without a rule of the user's own. Raises M_NOT_FOUND."""
        if self.get(kind, rule_id).default:
            raise not_found("A predefined push rule cannot be deleted; it can be disabled")
        return self._with(kind, [rule for rule in self.kinds[kind] if rule.rule_id != rule_id])

    def changed(self, kind: str, rule_id: str, change: Callable[[Rule], Rule]) -> "Ruleset":
        """With one rule changed. Raises M_NOT_FOUND."""
        self.get(kind, rule_id)
        rules = [change(rule) if rule.rule_id == rule_id else rule for rule in self.kinds[kind]]
        return self._with(kind, rules)

    def _with(self, kind: str, rules: Iterable[Rule]) -> "Ruleset":
        changed = Ruleset({**self.kinds, kind: tuple(rules)})
        if sum(map(len, changed.kinds.values())) > MAX_RULES:
            raise invalid_param(f"There can be {MAX_RULES} push rules at most")
        return changed


@frozen
class Predefined:
    """The rules that this server has its users begin with; `template` is about nobody in particular."""

    template: Ruleset

    def rules(self, user_id: str) -> Ruleset:
        """Those of who has changed nothing."""
        kinds = self.template.kinds
        about = {
            kind: tuple(_about(rule, user_id) if rule.rule_id in PERSONAL else rule for rule in kinds[kind])
            for kind in (OVERRIDE, CONTENT)
        }
        return Ruleset({**kinds, **about})

    def with_kept(self, user_id: str, content: Mapping[str, Any] | None) -> Ruleset:
        """What m.push_rules keeps of a user, with the predefined rules of today."""
        defaults = self.rules(user_id)
        if content is None:
            return defaults
        kept = _read(content)
        if kept.kinds[POSTCONTENT]:
            defaults = defaults.with_threads()
        return Ruleset({kind: tuple(_merged(kept.kinds[kind], defaults.kinds[kind])) for kind in KINDS})

    @property
    def in_text(self) -> bool:
        """Are there rules that find mentions in what messages say?"""
        return any(rule.rule_id in IN_TEXT for rule in self.template.kinds[CONTENT])


def predefined(*, mentions_in_text: bool = False) -> Predefined:
    """The rules of the specification of today; `mentions_in_text` adds those that it had until v1.16."""
    return Predefined(_read(default_push_rules(_SOMEBODY, mentions_in_text=mentions_in_text)))


def _merged(kept: Sequence[Rule], defaults: Sequence[Rule]) -> list[Rule]:
    before = {rule.rule_id: rule for rule in kept if rule.default}
    today = [
        evolve(rule, enabled=old.enabled, actions=old.actions)
        if (old := before.get(rule.rule_id)) is not None
        and (old.enabled, old.actions) != (rule.enabled, rule.actions)
        else rule
        for rule in defaults
    ]
    own = [rule for rule in kept if not rule.default]
    first = 1 if today and today[0].rule_id == MASTER else 0
    return [*today[:first], *own, *today[first:]]


def _index_of_own(rules: Sequence[Rule], rule_id: str) -> int:
    for index, rule in enumerate(rules):
        if rule.rule_id == rule_id:
            if rule.default:
                raise invalid_param("A rule cannot be placed relative to a predefined one")
            return index
    # The specification's own example of this refusal has this code.
    raise MatrixError(400, "M_UNKNOWN", f"before/after rule not found: {rule_id}")


def _read(content: Mapping[str, Any]) -> Ruleset:
    scope = content.get("global")
    found = scope if isinstance(scope, Mapping) else {}
    return Ruleset({kind: tuple(_rules(found.get(kind))) for kind in KINDS})


def _rules(value: Any) -> Iterable[Rule]:
    for item in value if isinstance(value, list) else ():
        if isinstance(item, Mapping) and isinstance(item.get("rule_id"), str):
            pattern = item.get("pattern")
            yield Rule(
                rule_id=item["rule_id"],
                default=item.get("default") is True,
                enabled=item.get("enabled") is not False,
                actions=_tuple(item.get("actions")),
                conditions=_tuple(item.get("conditions")),
                pattern=pattern if isinstance(pattern, str) else None,
            )


def _tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list) else ()


def _about(rule: Rule, user_id: str) -> Rule:
    """The rule of the template, about this user."""
    if rule.pattern is not None:
        return evolve(rule, pattern=localpart_of(user_id))
    conditions = tuple(
        {name: user_id if value == _SOMEBODY else value for name, value in condition.items()}
        for condition in rule.conditions
    )
    return evolve(rule, conditions=conditions)


_THREAD_RULES = tuple(_rules(thread_rules()))
