"""Room DAGs: the state before each event, merges resolved, rejected events left out of the state."""

from pathlib import Path
from typing import Any

from homeserver.core.auth.rejection import Rejected
from homeserver.core.auth.rules import check_auth
from homeserver.core.auth.state import AuthState
from homeserver.core.event import Event, StateKey, event_from_pdu
from homeserver.core.room_versions import ROOM_VERSIONS, RoomVersion
from tests.kit.merged_state import merged_state
from tests.vectors.result import Result, differs, load


def run(path: Path) -> Result:
    """Check every room."""
    result = Result()
    for case in load(path)["cases"]:
        result.check(f"{case['name']} v{case['room_version']}", lambda case=case: _check(case))
    return result


def _check(case: dict[str, Any]) -> str | None:
    version = ROOM_VERSIONS[case["room_version"]]
    ids = [entry["event_id"] for entry in case["events"]]
    after: dict[str, dict[StateKey, str]] = {}
    events: dict[str, Event] = {}
    for entry in case["events"]:
        event = event_from_pdu(entry["pdu"], entry["event_id"], version)
        events[event.event_id] = event
        before = merged_state(version, [after[parent] for parent in event.prev_events], events)
        wrong = differs(sorted(ids[index] for index in entry["state_before"]), sorted(before.values()))
        wrong = wrong or differs(entry["rejected"], not _allowed(event, before, events, version))
        if wrong:
            return f"{event.event_id}: {wrong}"
        enters = event.is_state and not entry["rejected"]
        after[event.event_id] = {**before, event.key: event.event_id} if enters else before
    return None


def _allowed(
    event: Event, before: dict[StateKey, str], events: dict[str, Event], version: RoomVersion
) -> bool:
    state = AuthState({key: events[event_id] for key, event_id in before.items()}, version)
    try:
        check_auth(event, state)
    except Rejected:
        return False
    return True
