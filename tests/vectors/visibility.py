"""History visibility: may a user see an event?"""

from pathlib import Path
from typing import Any

from homeserver.core.visibility import Facts, may_see_event
from tests.vectors.result import Result, differs, load


def run(path: Path) -> Result:
    """Check every case."""
    result = Result()
    for case in load(path)["cases"]:
        result.check(str(case), lambda case=case: differs(case["visible"], _visible(case)))
    return result


def _visible(case: dict[str, Any]) -> bool:
    return may_see_event(
        _facts(case, "history_visibility"), _facts(case, "membership"), joined_later=case["joined_later"]
    )


def _facts(case: dict[str, Any], name: str) -> Facts:
    return Facts(case.get(f"{name}_before", case.get(name)), case.get(f"{name}_after", case.get(name)))
