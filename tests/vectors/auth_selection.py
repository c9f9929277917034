"""Auth events selection: an unfinished event and the keys that exist, to the keys it must name."""

from pathlib import Path
from typing import Any

from homeserver.core.auth.selection import auth_events_selection
from homeserver.core.room_versions import ROOM_VERSIONS
from tests.vectors.result import Result, differs, load


def run(path: Path) -> Result:
    """Check every case."""
    result = Result()
    for number, case in enumerate(load(path)["cases"]):
        result.check(f"case {number}, version {case['room_version']}", _check, case)
    return result


def _check(case: dict[str, Any]) -> str | None:
    event, version = case["event"], ROOM_VERSIONS[case["room_version"]]
    selected = auth_events_selection(
        event["type"], event["sender"], event.get("state_key"), event["content"], version
    )
    existing = {tuple(key) for key in case["state"]}
    return differs(case["selected"], sorted(list(key) for key in selected if key in existing))
