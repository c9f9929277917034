"""The code of the authorization rules and the specification name the same rules.

`tests/fixtures/auth_rule_numbers.json` has the rules' numbers in every room version. A rule without a line of
code that cites it fails here, a citation of no rule does, and so does a refusal that no table has a row for.
"""

import ast
import json
import re
from pathlib import Path

from tests.core import test_auth_member, test_auth_power_levels, test_auth_rules, test_auth_third_party_invite
from tests.kit.verdicts import short

ROOT = Path(__file__).parent.parent.parent
SOURCES = sorted((ROOT / "homeserver/core/auth").glob("*.py"))
GENERATIONS = json.loads((ROOT / "tests/fixtures/auth_rule_numbers.json").read_text())["generations"]
CITATION = re.compile(r"rooms/v(\d+) auth (\d[\d., ]*\d|\d)")
RULE = re.compile(r"rooms/v\d+ auth \d+(\.\d+)*")


def rules(generation: dict) -> list[str]:
    return generation["rules"].split()


def leaves(numbers: list[str]) -> list[str]:
    """The rules that are no heading of others."""
    return [number for number in numbers if not any(other.startswith(f"{number}.") for other in numbers)]


def newest(generation: dict, number: str) -> str:
    """Where the newest version that has the rule counts it: "v12 10.4"."""
    parts = number.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in generation["now"]:
            return generation["now"][prefix] + number[len(prefix) :]
    return f"v{generation['versions'][-1]} {number}"


def cited() -> set[str]:
    """Every citation in comments, docstrings and refusals; "10.1, 10.2" are two."""
    found = set()
    for source in SOURCES:
        for version, numbers in CITATION.findall(source.read_text()):
            found |= {f"v{version} {number}" for number in re.findall(r"\d+(?:\.\d+)*", numbers)}
    return found


def refusals() -> list[tuple[str, int, str | None]]:
    """File, line and rule of every refusal in the code; None where the rule is not written out."""
    found = []
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                position = {"Rejected": 0, "reject_if": 1}.get(node.func.id)
                if position is not None and source.name != "rejection.py":
                    argument = node.args[position]
                    literal = argument.value if isinstance(argument, ast.Constant) else None
                    found.append((source.name, node.lineno, literal))
    return found


def test_every_room_version_is_listed() -> None:
    listed = [version for generation in GENERATIONS for version in generation["versions"]]
    assert listed == [str(number) for number in range(1, 13)]


def test_every_rule_of_every_version_is_cited() -> None:
    present = cited()
    missing = [
        (generation["versions"], number, newest(generation, number))
        for generation in GENERATIONS
        for number in leaves(rules(generation))
        if newest(generation, number) not in present
    ]
    assert not missing


def test_every_citation_is_of_a_rule_by_its_newest_number() -> None:
    known = {newest(generation, number) for generation in GENERATIONS for number in rules(generation)}
    assert cited() - known == set()


def test_every_refusal_names_its_rule() -> None:
    nameless = [place for place in refusals() if place[2] is None or not RULE.fullmatch(place[2])]
    assert not nameless
    assert len(refusals()) > 50


def test_every_refusal_has_a_row_in_a_table() -> None:
    tested = {
        *(row.expected for row in test_auth_member.ROWS),
        *(row.expected for row in test_auth_power_levels.ROWS),
        *(row[-1] for row in test_auth_member.AUTHORIZER_ROWS),
        *(row[0] for row in test_auth_third_party_invite.ROWS),
        test_auth_third_party_invite.BANNED,
        *(row[-1] for row in test_auth_rules.CREATE_ROWS),
        *(row[-1] for row in test_auth_rules.CREATE_ELSEWHERE),
        *(row[-1] for row in test_auth_rules.STATE_ROWS),
        *(row[-1] for row in test_auth_rules.REDACTION_ROWS),
        *(row[-1] for row in test_auth_rules.FEDERATE_ROWS),
        *test_auth_rules.CREATE_SHAPE,
        *test_auth_rules.AUTH_EVENT_RULES,
        test_auth_rules.ROOM_RULE,
    }
    untested = {short(rule) for _, _, rule in refusals() if rule} - tested
    assert not untested
