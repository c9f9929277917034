"""State resolution of room version 1 [rooms/v1 "State resolution"].

Only keys with different events conflict: a key that is absent in some states keeps its event. Conflicts are resolved
by type, first power levels, then join rules, then memberships, then all else; the winners of one pass authorize the
next passes, never one another.
"""

import hashlib
from collections.abc import Iterable, Sequence

from attrs import frozen

from homeserver.core.auth.rejection import Rejected
from homeserver.core.auth.rules import check_auth
from homeserver.core.auth.selection import auth_state_keys
from homeserver.core.auth.state import POWER_LEVELS, AuthState
from homeserver.core.event import Event, StateKey
from homeserver.core.state_resolution.inputs import Conflict, Known, Missing, require_events

_Winners = dict[StateKey, Event]


def resolve(conflict: Conflict, known: Known) -> dict[StateKey, str | None]:
    """The value of each key of the conflict. Raises Missing until all that is needed has been loaded."""
    require_events(conflict.event_ids, known.events)
    candidates = {key: _candidates(conflict, known, key) for key in conflict.states}
    conflicted = {key: events for key, events in candidates.items() if len(events) > 1}
    agreed = {key: events[0] for key, events in candidates.items() if len(events) == 1}
    run = _Run(known, frozenset(conflicted), agreed)
    run.require(conflicted.values())
    winners: _Winners = dict(agreed)
    for keys in _passes(conflicted):
        winners.update({key: run.winner(key, conflicted[key], winners) for key in keys})
    return {key: event.event_id for key, event in winners.items()}


def _candidates(conflict: Conflict, known: Known, key: StateKey) -> list[Event]:
    """The events of `key`, by ascending depth, then descending SHA-1 of the id."""
    events = [known.events[event_id] for event_id in conflict.states[key] if event_id is not None]
    events.sort(key=lambda event: hashlib.sha1(event.event_id.encode()).hexdigest(), reverse=True)  # noqa: S324
    return sorted(events, key=lambda event: event.depth)


def _passes(keys: Iterable[StateKey]) -> list[list[StateKey]]:
    """Power levels, join rules, memberships, all others."""
    passes: list[list[StateKey]] = [[], [], [], []]
    for key in keys:
        if key == POWER_LEVELS:
            passes[0].append(key)
        elif key[0] == "m.room.join_rules":
            passes[1].append(key)
        elif key[0] == "m.room.member":
            passes[2].append(key)
        else:
            passes[3].append(key)
    return passes


@frozen
class _Run:
    """The passes over one conflict."""

    known: Known
    conflicted: frozenset[StateKey]
    agreed: _Winners

    def require(self, conflicts: Iterable[Sequence[Event]]) -> None:
        """Raise Missing for the unconflicted state that the candidates' authorization may read."""
        keys = {key for events in conflicts for event in events for key in _auth_keys(event)}
        keys.difference_update(self.conflicted, self.agreed)
        unknown = frozenset(key for key in keys if key not in self.known.unconflicted)
        entries = {entry for key in keys - unknown if (entry := self.known.unconflicted[key]) is not None}
        absent = frozenset(entry for entry in entries if entry not in self.known.events)
        if absent or unknown:
            raise Missing(absent, unknown)

    def winner(self, key: StateKey, candidates: Sequence[Event], winners: _Winners) -> Event:
        """The event that `key` gets, given the winners of earlier passes."""
        if key == POWER_LEVELS or key[0] in ("m.room.join_rules", "m.room.member"):
            return self._last_in_line(key, candidates, winners)
        allowed = (event for event in reversed(candidates) if self._allowed(event, winners))
        return next(allowed, candidates[0])

    def _last_in_line(self, key: StateKey, candidates: Sequence[Event], winners: _Winners) -> Event:
        """Each event must be allowed by the one before it; the first that is not ends the line."""
        current = candidates[0]
        for event in candidates[1:]:
            if not self._allowed(event, {**winners, key: current}):
                break
            current = event
        return current

    def _allowed(self, event: Event, winners: _Winners) -> bool:
        state = {key: entry for key in _auth_keys(event) if (entry := self._entry(key, winners)) is not None}
        try:
            check_auth(event, AuthState(state, event.version))
        except Rejected:
            return False
        return True

    def _entry(self, key: StateKey, winners: _Winners) -> Event | None:
        if key in winners or key in self.conflicted:
            return winners.get(key)
        event_id = self.known.unconflicted[key]
        return None if event_id is None else self.known.events[event_id]


def _auth_keys(event: Event) -> tuple[StateKey, ...]:
    return auth_state_keys(event.type, event.sender, event.state_key, event.content, event.version)
