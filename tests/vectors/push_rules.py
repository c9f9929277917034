"""Push rules: does a condition hold, and which actions do a user's rules come to?"""

from pathlib import Path
from typing import Any

import orjson

from homeserver.core.push.conditions import Facts, compiled
from homeserver.core.push.evaluate import select
from homeserver.core.push.rules import KINDS, Ruleset, predefined
from tests.vectors.result import Result, differs, load

PREDEFINED = predefined()
DEFAULT_MEMBERS, DEFAULT_NOTIFICATION_LEVEL = 3, 50


def run(path: Path) -> Result:
    """Check every case, and that our predefined rules are those of the file."""
    result, document = Result(), load(path)
    result.check("default_rules", _check_defaults, document["default_rules"])
    for number, case in enumerate(document["cases"]):
        check = _check_condition if case["kind"] == "condition" else _check_rules
        result.check(f"case {number}: {case}", check, case)
    return result


def _check_defaults(expected: list[dict[str, Any]]) -> str | None:
    rules = PREDEFINED.rules("[the user's Matrix ID]").as_content()["global"]
    ours = [{**rule, "kind": kind} for kind in KINDS for rule in rules[kind]]
    return differs(expected, ours)


def _check_condition(case: dict[str, Any]) -> str | None:
    return differs(case["matches"], compiled(case["condition"])(_facts(case)))


def _check_rules(case: dict[str, Any]) -> str | None:
    matched = select(_ruleset(case)).compiled().matched(_facts(case))
    actions = [] if matched is None else orjson.loads(matched.actions.as_json)
    return differs(
        (case["matched_rule"], _as_set(case["actions"])),
        (matched and matched.rule_id, _as_set(actions)),
    )


def _as_set(actions: list[Any]) -> set[bytes]:
    return {orjson.dumps(action, option=orjson.OPT_SORT_KEYS) for action in actions}


def _ruleset(case: dict[str, Any]) -> Ruleset:
    rules = PREDEFINED.rules(case["user_id"]).as_content()
    for kind in KINDS:
        own = [{**rule, "default": False} for rule in case["rules"] if rule["kind"] == kind]
        rules["global"][kind] = own + rules["global"][kind]
        for rule in rules["global"][kind]:
            if rule["rule_id"] in [*case.get("enabled", ()), *case.get("disabled", ())]:
                rule["enabled"] = rule["rule_id"] in case.get("enabled", ())
    return PREDEFINED.with_kept(case["user_id"], rules)


def _facts(case: dict[str, Any]) -> Facts:
    levels = case.get("notifications") or {}

    def may_notify(key: str) -> bool:
        return bool((case.get("sender_power_level") or 0) >= levels.get(key, DEFAULT_NOTIFICATION_LEVEL))

    return Facts(
        case["event"], case.get("room_member_count", DEFAULT_MEMBERS), may_notify, case.get("display_name")
    )
