"""State resolution version 2 and 2.1 [rooms/v2 "State resolution", rooms/v12 "State resolution"].

It works on the conflict alone: the events of the full conflicted set are sorted and authorized one by one, against
what was resolved so far, then (version 2) the unconflicted state, then the auth events of the event itself. Version
2.1 differs in two flags: it looks at no unconflicted state while it authorizes, and its full conflicted set also
holds the conflicted state subgraph, which the caller adds to the difference. No step touches the rest of the state.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from attrs import frozen

from homeserver.core.auth.rejection import Rejected
from homeserver.core.auth.rules import check_auth
from homeserver.core.auth.selection import auth_state_keys
from homeserver.core.auth.state import CREATE, JOIN_RULES, POWER_LEVELS, AuthState
from homeserver.core.event import Event, StateKey
from homeserver.core.power_levels import power_levels
from homeserver.core.room_versions import StateResolution
from homeserver.core.state_resolution.graph import Mainline, cited, lexicographic_sort, reachable_within
from homeserver.core.state_resolution.inputs import Conflict, Known, Missing, require_events

_UNCONDITIONAL_POWER = frozenset((CREATE, POWER_LEVELS, JOIN_RULES))
_Resolved = dict[StateKey, str]


@frozen
class Replay:
    """The orders in which the events were applied, and the outcome: what an "explain" tool shows."""

    power_order: list[str]
    partial_power_levels: str | None
    mainline_order: list[str]
    resolved: Mapping[StateKey, str | None]


def resolve(conflict: Conflict, known: Known) -> dict[StateKey, str | None]:
    """The value of each conflicted key (None: absent), and of keys that only the difference brings.

    Raises Missing until all that is needed has been loaded.
    """
    return dict(replay(conflict, known).resolved)


def replay(conflict: Conflict, known: Known) -> Replay:
    """`resolve`, with the steps taken [rooms/v12 "State resolution", "Algorithm"]."""
    full = _full_conflicted_set(conflict, known)
    run = _Run(conflict, known)
    power = [event_id for event_id in full if is_power_event(known.events[event_id])]
    power_order = power_sort(power, full, known.events)  # step 1
    partial = run.iterative_auth_checks(power_order, {})  # step 2
    top = partial.get(POWER_LEVELS) or run.unconflicted(POWER_LEVELS)
    rest = mainline_sort(full.difference(power_order), top, known.events)  # step 3
    resolved = run.iterative_auth_checks(rest, partial)  # step 4
    return Replay(power_order, top, rest, _reapply(resolved, conflict, known))  # step 5


def is_power_event(event: Event) -> bool:
    """Might the event take away somebody's ability to do something? [rooms/v12 "Power events"]

    As servers have it in practice: only the entries with an empty state key count, and the create event does too.
    """
    if event.type == "m.room.member":
        return event.membership in ("leave", "ban") and event.sender != event.state_key
    return event.is_state and event.key in _UNCONDITIONAL_POWER


def power_sort(power: Iterable[str], full: AbstractSet[str], events: Mapping[str, Event]) -> list[str]:
    """The power events and their auth events in `full`, in reverse topological power ordering.

    As servers have it in practice: auth events are followed only from one event of `full` to the next, and only
    such direct links order the events.
    """

    def rank(event_id: str) -> Any:
        event = events[event_id]
        return (-_sender_level(event, events), event.origin_server_ts, event_id)

    return lexicographic_sort(reachable_within(power, full, events), rank)


def mainline_sort(event_ids: Iterable[str], top: str | None, events: Mapping[str, Event]) -> list[str]:
    """Sorted by the mainline of `top`: what stands on older power levels comes first."""
    mainline = Mainline(top, events)

    def rank(event_id: str) -> tuple[float, int, str]:
        event = events[event_id]
        return (-mainline.position(event), event.origin_server_ts, event_id)

    return sorted(event_ids, key=rank)


def _sender_level(event: Event, events: Mapping[str, Event]) -> float:
    """The sender's power level by the auth events of the event itself."""
    own = {auth.key: auth for event_id in cited(event) if (auth := events[event_id]).is_state}
    return power_levels(own.get(POWER_LEVELS), own.get(CREATE), event.version).of(event.sender)


@frozen
class _Run:
    """The iterative auth checks over one conflict [rooms/v12 "Iterative auth checks"]."""

    conflict: Conflict
    known: Known

    def unconflicted(self, key: StateKey) -> str | None:
        """The unconflicted state map where the checks begin with it; since v12 with an empty map."""
        if not _begins_with_unconflicted(self.conflict) or key in self.conflict.states:
            return None
        return self.known.unconflicted[key]

    def iterative_auth_checks(self, order: Iterable[str], start: _Resolved) -> _Resolved:
        """`start` with those events of `order` that are allowed in their turn."""
        resolved = dict(start)
        for event_id in order:
            event = self.known.events[event_id]
            if event.is_state and self._allowed(event, resolved):
                resolved[event.key] = event_id
        return resolved

    def _allowed(self, event: Event, resolved: _Resolved) -> bool:
        try:
            check_auth(event, AuthState(self._auth_state(event, resolved), event.version))
        except Rejected:
            return False
        return True

    def _auth_state(self, event: Event, resolved: _Resolved) -> dict[StateKey, Event]:
        """What authorizes `event`: the state so far, and where it is silent the event's own auth events."""
        events, rejected = self.known.events, self.known.rejected
        accepted = (events[event_id] for event_id in cited(event) if event_id not in rejected)
        state = {auth.key: auth for auth in accepted if auth.is_state}
        for key in auth_keys(event):
            entry = resolved.get(key) or self.unconflicted(key)
            if entry is not None:
                state[key] = events[entry]
        return state


def auth_keys(event: Event) -> tuple[StateKey, ...]:
    return auth_state_keys(event.type, event.sender, event.state_key, event.content, event.version)


def _begins_with_unconflicted(conflict: Conflict) -> bool:
    return conflict.version.state_resolution is StateResolution.V2


def _full_conflicted_set(conflict: Conflict, known: Known) -> frozenset[str]:
    """All events to be replayed, having made sure that whatever the replay will read is loaded."""
    full = frozenset(conflict.event_ids | conflict.difference)
    require_events(full, known.events)
    replayed = [known.events[event_id] for event_id in full]
    read = _keys_read(replayed).difference(conflict.states) if _begins_with_unconflicted(conflict) else set()
    written = {event.key for event in replayed if event.is_state}.difference(conflict.states)
    unknown_keys = frozenset(key for key in read | written if key not in known.unconflicted)
    entries = {entry for key in read - unknown_keys if (entry := known.unconflicted[key]) is not None}
    needed = entries.union(*map(cited, replayed))
    absent = frozenset(event_id for event_id in needed if event_id not in known.events)
    if absent or unknown_keys:
        raise Missing(absent, unknown_keys)
    return full


def _keys_read(replayed: Iterable[Event]) -> set[StateKey]:
    """The state that the replay may look at: what authorizes the events, and the top of the mainline."""
    return {POWER_LEVELS}.union(*map(auth_keys, replayed))


def _reapply(resolved: _Resolved, conflict: Conflict, known: Known) -> dict[StateKey, str | None]:
    """The conflicted keys, and the keys that no state had; the unconflicted ones stay what they are."""
    new = {key for key in resolved.keys() - conflict.states.keys() if known.unconflicted[key] is None}
    return {key: resolved.get(key) for key in new.union(conflict.states)}
