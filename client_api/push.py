"""Client-Server API, "Push Rules API"."""

from typing import Any

from attrs import frozen

from homeserver.core.errors import MatrixError, bad_json, invalid_param, missing_param, unrecognized
from homeserver.core.push.rules import CONDITIONAL, CONTENT, KINDS, POSTCONTENT, ROOM, SENDER, Place, Rule
from homeserver.services.push_rules import Owner, PushRules
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result

GLOBAL = "global"  # the only scope there is
MAX_ID = 255  # characters; room and user ids are the longest that mean something
MAX_PATTERN = 512  # characters; every event of the user's rooms is held against it
MAX_PARTS = 50  # conditions, or actions, of a rule
_RULES = "/v3/pushrules"
_RULE = f"{_RULES}/{{scope}}/{{kind}}/{{ruleId}}"
# The last two say nothing any more but may be there [cs "Actions"]; names with a dot are somebody's experiment.
_ACTIONS = ("notify", "dont_notify", "coalesce")
_TOO_SHORT = ("/", "/{scope}", "/{scope}/{kind}")


@frozen
class PushApi:
    """[cs "Push Rules API"]"""

    push_rules: PushRules

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", f"{_RULES}/", self.rules),
            Endpoint("GET", f"{_RULES}/{{scope}}/", self.global_rules),
            Endpoint("GET", f"{_RULES}/{{scope}}/{{kind}}/", self.rules_of_kind),
            Endpoint("GET", _RULE, self.rule),
            Endpoint("PUT", _RULE, self.put, rate="other"),
            Endpoint("DELETE", _RULE, self.delete),
            Endpoint("GET", f"{_RULE}/enabled", self.enabled),
            Endpoint("PUT", f"{_RULE}/enabled", self.enable),
            Endpoint("GET", f"{_RULE}/actions", self.actions),
            Endpoint("PUT", f"{_RULE}/actions", self.set_actions),
            # What is no rule is a bad request, as it was when `scope` was a parameter [cs r0.6 "Push Rules API"].
            Endpoint("GET", f"{_RULE}/{{attribute}}", self.no_rule),
            Endpoint("PUT", f"{_RULE}/{{attribute}}", self.no_rule),
            *(Endpoint("PUT", _RULES + rest, self.no_rule) for rest in _TOO_SHORT),
        ]

    async def rules(self, call: Call) -> Result:
        if not _is_list(call):  # another path than the specification's
            raise unrecognized()
        return (await self.push_rules.of(_owner(call))).as_content()

    async def global_rules(self, call: Call) -> Result:
        _check_scope(call)
        if not _is_list(call):
            raise _not_a_rule()
        rules: Result = (await self.push_rules.of(_owner(call))).as_content()[GLOBAL]
        return rules

    async def rules_of_kind(self, call: Call) -> Result:
        """COMPAT(clients of before r0.2, SyTest): the specification has no such path any more."""
        kind = _kind(call)
        if not _is_list(call):
            raise _not_a_rule()
        return [rule.as_json(kind) for rule in (await self.push_rules.of(_owner(call))).kinds[kind]]

    async def rule(self, call: Call) -> Result:
        return (await self._get(call)).as_json(_kind(call))

    async def put(self, call: Call) -> Result:
        kind = _kind(call)
        place = Place(call.query.string("before", None), call.query.string("after", None))
        await self.push_rules.put(_owner(call), kind, _wanted(call, kind), place)
        return {}

    async def delete(self, call: Call) -> Result:
        await self.push_rules.delete(_owner(call), _kind(call), call.path["ruleId"])
        return {}

    async def enabled(self, call: Call) -> Result:
        return {"enabled": (await self._get(call)).enabled}

    async def enable(self, call: Call) -> Result:
        enabled = call.field("enabled", bool)
        await self.push_rules.enable(_owner(call), _kind(call), call.path["ruleId"], enabled=enabled)
        return {}

    async def actions(self, call: Call) -> Result:
        return {"actions": list((await self._get(call)).actions)}

    async def set_actions(self, call: Call) -> Result:
        actions = _actions(call)
        await self.push_rules.set_actions(_owner(call), _kind(call), call.path["ruleId"], actions)
        return {}

    async def no_rule(self, call: Call) -> Result:
        raise _not_a_rule()

    async def _get(self, call: Call) -> Rule:
        return (await self.push_rules.of(_owner(call))).get(_kind(call), call.path["ruleId"])


def _owner(call: Call) -> Owner:
    return Owner(call.requester.user_id, call.requester.user_nid)


def _is_list(call: Call) -> bool:
    """Lists of rules are asked for with a slash at the end: without, a part of the path is missing."""
    return call.raw_target.partition("?")[0].endswith("/")


def _check_scope(call: Call) -> None:
    if call.path["scope"] != GLOBAL:
        raise invalid_param(f"There is one scope of push rules: {GLOBAL}")


def _kind(call: Call) -> str:
    _check_scope(call)
    kind = call.path["kind"]
    if kind not in KINDS:
        raise invalid_param(f"There are these kinds of push rules: {', '.join(KINDS)}")
    return kind


def _not_a_rule() -> MatrixError:
    return MatrixError(
        400, "M_UNRECOGNIZED", "The path does not name a push rule, or something that a rule has"
    )


def _wanted(call: Call, kind: str) -> Rule:
    """The rule of a request. Raises M_INVALID_PARAM, M_MISSING_PARAM and M_BAD_JSON."""
    rule_id = call.path["ruleId"]
    if kind == POSTCONTENT:
        raise invalid_param("Rules of this kind are predefined")
    if rule_id.startswith(".") or "/" in rule_id or "\\" in rule_id:
        raise invalid_param("A rule's id does not start with a dot and holds no slash or backslash")
    if len(rule_id) > MAX_ID:
        raise invalid_param(f"A rule's id has at most {MAX_ID} characters")
    # Aliases match no event; clients have made such rules all the same, and keep them in order.
    if (kind == ROOM and not rule_id.startswith(("!", "#"))) or (
        kind == SENDER and not rule_id.startswith("@")
    ):
        raise invalid_param("The id of a rule for a room is the room's id, of one for a sender the user's")
    return Rule(
        rule_id=rule_id,
        default=False,
        enabled=True,
        actions=_actions(call),
        conditions=_conditions(call) if kind in CONDITIONAL else (),
        pattern=_pattern(call) if kind == CONTENT else None,
    )


def _actions(call: Call) -> tuple[Any, ...]:
    if "actions" not in call.body:
        raise missing_param("actions")
    actions = call.body["actions"]
    if not isinstance(actions, list) or len(actions) > MAX_PARTS:
        raise bad_json(f"actions must be a list of {MAX_PARTS} items at most")
    for action in actions:
        tweak = action.get("set_tweak") if isinstance(action, dict) else None
        if not isinstance(action, str) and not isinstance(tweak, str):
            raise bad_json("An action is a string, or an object that has set_tweak")
        if isinstance(action, str) and action not in _ACTIONS and "." not in action:
            raise invalid_param(f"There is no action of this name; there are: {', '.join(_ACTIONS)}")
    return tuple(actions)


def _conditions(call: Call) -> tuple[Any, ...]:
    conditions = call.optional("conditions", list, [])
    if len(conditions) > MAX_PARTS:
        raise invalid_param(f"A rule has at most {MAX_PARTS} conditions")
    for condition in conditions:
        if not isinstance(condition, dict) or not isinstance(condition.get("kind"), str):
            raise bad_json("A condition is an object that has a kind")
        _check_pattern(condition.get("pattern"))
        _check_pattern(condition.get("key"))
    return tuple(conditions)


def _pattern(call: Call) -> str:
    pattern = call.field("pattern", str)
    _check_pattern(pattern)
    return pattern


def _check_pattern(pattern: Any) -> None:
    if isinstance(pattern, str) and len(pattern) > MAX_PATTERN:
        raise invalid_param(f"Patterns and keys have at most {MAX_PATTERN} characters")
