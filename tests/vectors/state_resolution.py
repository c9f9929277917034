"""State resolution: state sets in, one state out; with the sets and orders on the way."""

from pathlib import Path
from typing import Any

from homeserver.core.event import Event, event_from_pdu
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.core.state_resolution import graph, v2
from homeserver.core.state_resolution.inputs import Known
from homeserver.core.state_resolution.resolve import conflict_of, resolve_maps
from tests.vectors.result import Result, differs, load


def run(path: Path) -> Result:
    """Check every case: the result, and where the case names them the steps."""
    result = Result()
    for case in load(path)["cases"]:
        label = f"{case['name']} v{case['room_version']}"
        result.check(label, lambda case=case: _check_result(case) or _check_steps(case))
    return result


def _check_result(case: dict[str, Any]) -> str | None:
    version = ROOM_VERSIONS[case["room_version"]]
    resolved = resolve_maps(version, _states(case), _events(case))
    return differs(sorted([*key, event_id] for key, event_id in resolved.items()), sorted(case["expected"]))


def _check_steps(case: dict[str, Any]) -> str | None:
    if case["algorithm"] == "v1":
        return None
    version, states, events = ROOM_VERSIONS[case["room_version"]], _states(case), _events(case)
    conflict = conflict_of(version, states, events)
    unconflicted = {key: None for event in events.values() if event.is_state for key in _keys(event)}
    unconflicted |= {key: event_id for state in states for key, event_id in state.items()}
    replay = v2.replay(conflict, Known(events, unconflicted))
    steps = {
        "conflicted": sorted(conflict.event_ids),
        "auth_difference": sorted(graph.auth_difference([state.values() for state in states], events)),
        "conflicted_subgraph": sorted(graph.conflicted_subgraph(conflict.event_ids, events)),
        "full_conflicted_set": sorted(conflict.event_ids | conflict.difference),
        "power_order": replay.power_order,
        "mainline_order": replay.mainline_order,
        "partial_power_levels": replay.partial_power_levels,
    }
    wrong = [differs(case[name], value) for name, value in steps.items() if name in case]
    return next(filter(None, wrong), None)


def _keys(event: Event) -> set[Any]:
    return {event.key, *v2.auth_keys(event)}


def _states(case: dict[str, Any]) -> list[dict[tuple[str, str], str]]:
    return [{(kind, key): event_id for kind, key, event_id in state} for state in case["state_sets"]]


def _events(case: dict[str, Any]) -> dict[str, Event]:
    version = ROOM_VERSIONS[case["room_version"]]
    return {event_id: event_from_pdu(pdu, event_id, version) for event_id, pdu in case["events"].items()}
