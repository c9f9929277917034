"""What another server tells of a room, judged and placed: pure, and too much work for the event loop."""

import itertools
from collections.abc import Mapping, Sequence

from attrs import define, field, frozen

from homeserver.core.auth.rejection import Rejected as NotAllowed
from homeserver.core.auth.rules import check_auth, check_auth_events
from homeserver.core.auth.selection import auth_state_keys
from homeserver.core.auth.state import AuthState
from homeserver.core.dag import topological
from homeserver.core.event import Event
from homeserver.core.state_resolution.chain_cover import Newcomer, Placement, assign
from homeserver.services.placement import is_placed, placement_of
from storage.events import StoredEvent


@frozen
class Judgements:
    """What became of the told events: in topological order, with the reasons of the rejected ones."""

    ordered: list[Event]
    rejected: dict[str, str]
    by_id: dict[str, Event]


def judge_told(events: Sequence[Event], room_id: str) -> Judgements:
    """Each event by its auth events, which are all among them. Takes its time: not for the loop."""
    ordered = topological(events).order
    creates = [event for event in ordered if event.type == "m.room.create" and event.room_id == room_id]
    judge = _Judge(
        room_id,
        creates[0] if len(creates) == 1 else None,
        by_id={event.event_id: event for event in ordered},
    )
    for event in ordered:
        reason = judge.refusal(event)
        if reason is not None:
            judge.rejected[event.event_id] = reason
    return Judgements(ordered, judge.rejected, judge.by_id)


@define(eq=False)
class _Judge:
    """Judges events of one room, what they cite first.

    Thousands of members cite the same events. Whether these may stand beside each other, are of the room and were not
    rejected is the same for all of them; so is the state that they make, with what the rules read out of it.
    """

    room_id: str
    create: Event | None
    by_id: dict[str, Event]
    rejected: dict[str, str] = field(factory=dict)
    _states: dict[tuple[str, ...], AuthState] = field(factory=dict)

    def refusal(self, event: Event) -> str | None:
        """Why the event is rejected, if it is."""
        if event.room_id != self.room_id:
            return "it is of another room"
        if event.type == "m.room.create":
            if event is not self.create:
                return "the room has another create event"
        elif (known := self._states.get(event.auth_events)) is not None and _may_cite(event, known):
            return _refusal(event, known)
        absent = [cited for cited in event.auth_events if cited not in self.by_id]
        if absent:
            return f"it cites {absent[0]}, which was not told"
        auth = [self.by_id[cited] for cited in event.auth_events]
        try:
            state = check_auth_events(event, auth, rejected=self.rejected, create=self.create)
        except NotAllowed as refusal:
            return str(refusal)
        if event.type != "m.room.create":
            self._states[event.auth_events] = state
        return _refusal(event, state)


def _may_cite(event: Event, state: AuthState) -> bool:
    """Does the event name no more than what authorizes such an event [rooms/v12 auth 3.2]?"""
    keys = auth_state_keys(event.type, event.sender, event.state_key, event.content, event.version)
    return state.events.keys() <= set(keys)


def _refusal(event: Event, state: AuthState) -> str | None:
    try:
        # Who vouched for a restricted join was checked by the server that let it in; the keys may be long gone.
        check_auth(event, state)
    except NotAllowed as refusal:
        return str(refusal)
    return None


def place_told(
    judgements: Judgements, known: Mapping[str, StoredEvent], chains: int
) -> tuple[dict[str, Placement], int]:
    """Places in the chain cover for those of the events that are not known, and the number of chains then."""
    placed = {event_id: place for event_id, one in known.items() if (place := placement_of(one)) is not None}
    tips: dict[int, int] = {}
    for placement in placed.values():
        tips[placement.place.chain] = max(placement.place.seq, tips.get(placement.place.chain, 0))
    create = next((one.event_id for one in judgements.ordered if one.type == "m.room.create"), None)
    newcomers, placeable = [], set(placed)
    for event in judgements.ordered:
        if event.event_id in placed or event.event_id in judgements.rejected or not is_placed(event):
            continue
        implied = [create] if event.version.room_id_is_create_hash and create != event.event_id else []
        cites = [
            cited for cited in (*event.auth_events, *implied) if cited is not None and cited in placeable
        ]
        same = [cited for cited in cites if judgements.by_id[cited].key == event.key]
        newcomers.append(Newcomer(event.event_id, tuple(cites), same[0] if same else None))
        placeable.add(event.event_id)
    counter = itertools.count(chains + 1)
    made = assign(newcomers, placed, tips, lambda: next(counter))
    return made, next(counter) - 1
