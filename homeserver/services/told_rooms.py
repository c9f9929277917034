"""What another server tells of a room, judged and placed: pure, and too much work for the event loop."""

import itertools
from collections.abc import Mapping, Sequence

from attrs import frozen

from homeserver.core.auth.rejection import Rejected as NotAllowed
from homeserver.core.auth.rules import check_auth, check_auth_events
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


def judge_told(events: Sequence[Event], room_id: str) -> Judgements:
    """Each event by its auth events, which are all among them. Takes its time: not for the loop."""
    ordered = topological(events).order
    creates = [event for event in ordered if event.type == "m.room.create" and event.room_id == room_id]
    create = creates[0] if len(creates) == 1 else None
    by_id = {event.event_id: event for event in ordered}
    rejected: dict[str, str] = {}
    for event in ordered:
        reason = _refusal(event, by_id, rejected, create, room_id)
        if reason is not None:
            rejected[event.event_id] = reason
    return Judgements(ordered, rejected)


def _refusal(
    event: Event, by_id: Mapping[str, Event], rejected: Mapping[str, str], create: Event | None, room_id: str
) -> str | None:
    if event.room_id != room_id:
        return "it is of another room"
    if event.type == "m.room.create" and event is not create:
        return "the room has another create event"
    absent = [cited for cited in event.auth_events if cited not in by_id]
    if absent:
        return f"it cites {absent[0]}, which was not told"
    try:
        auth = [by_id[cited] for cited in event.auth_events]
        state = check_auth_events(event, auth, rejected=rejected, create=create)
        # Who vouched for a restricted join was checked by the server that let it in; the keys may be long gone.
        check_auth(event, state)
    except NotAllowed as refusal:
        return str(refusal)
    return None


def place_told(
    judgements: Judgements, known: Mapping[str, StoredEvent], chains: int
) -> tuple[dict[str, Placement], int]:
    """Places in the chain cover for those of the events that are not known, and the number of chains then."""
    by_id = {event.event_id: event for event in judgements.ordered}
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
        same = [cited for cited in cites if by_id[cited].key == event.key]
        newcomers.append(Newcomer(event.event_id, tuple(cites), same[0] if same else None))
        placeable.add(event.event_id)
    counter = itertools.count(chains + 1)
    made = assign(newcomers, placed, tips, lambda: next(counter))
    return made, next(counter) - 1
