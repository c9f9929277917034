"""A room as another server told it, with the numbers and places under which we store it.

Of tens of thousands of events nearly all become rows and nothing else: what the rest of the server works with, a
`StoredEvent`, is made only of those that somebody asks for.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import frozen

from homeserver.core.event import Event, StateKey
from homeserver.core.state_resolution.chain_cover import Placement
from homeserver.services.judging import Arrival, is_unjudged
from homeserver.services.told_rooms import Judgements
from storage.adoption import Entry, OutlierRow
from storage.events import StoredEvent
from storage.room_batches import MEMBERSHIPS, OUTLIER, REJECTED
from storage.rooms import Room


@frozen(eq=False)
class Cover:
    """The places in the chain cover of events that had none, and the number of chains then."""

    placements: Mapping[str, Placement]
    chains: int


@frozen(eq=False)
class Learned:
    """The told events: `known` are those that we had, `nids` the numbers of all."""

    room: Room
    judgements: Judgements
    known: Mapping[str, StoredEvent]
    nids: Mapping[str, int]
    keys: Mapping[StateKey, int]
    cover: Cover

    def stored(self, event_id: str) -> StoredEvent | None:
        """One of the events as it will be stored, or is."""
        before = self.known.get(event_id)
        if before is not None and not is_unjudged(before):
            return before
        event = self.judgements.by_id.get(event_id)
        if event is None:
            return None
        placement = self.cover.placements.get(event_id)
        chain, seq = (None, None) if placement is None else placement.place
        return StoredEvent(
            nid=self.nids[event_id], room=self.room, position=None, event=event, status=self._status(event_id),
            key_nid=self.keys[event.key] if event.is_state else None, chain=chain, chain_seq=seq,
            chain_links=() if placement is None else tuple(placement.links),
        )  # fmt: skip

    def state(self, told: Sequence[Arrival]) -> dict[StateKey, Event]:
        """What of the told state was not rejected, now or when we first had it."""
        found: dict[StateKey, Event] = {}
        for one in told:
            event_id = one.event.event_id
            before = self.known.get(event_id)
            if before is not None and not is_unjudged(before):
                if before.status != REJECTED and before.event.is_state:
                    found[before.event.key] = before.event
            elif event_id in self.judgements.by_id and event_id not in self.judgements.rejected:
                event = self.judgements.by_id[event_id]
                if event.is_state:
                    found[event.key] = event
        return found

    def entries(self, state: Mapping[StateKey, Event]) -> list[Entry]:
        """The state as the first entries of a main line."""
        return [
            (self.keys[key], sp, self.nids[event.event_id], _membership(event))
            for sp, (key, event) in enumerate(state.items(), start=1)
        ]

    def replaced(self) -> list[int]:
        """Those that came with an invitation or a knock and are judged only now: they are written anew."""
        return [one.nid for one in self.known.values() if is_unjudged(one)]

    def rows(self, arrivals: Mapping[str, Arrival]) -> Iterator[OutlierRow]:
        """All that is not stored yet, or not for good."""
        for event in new_of(self.judgements.ordered, self.known):
            event_id = event.event_id
            placement = self.cover.placements.get(event_id)
            chain, seq = (None, None) if placement is None else placement.place
            yield OutlierRow(
                self.nids[event_id], event_id, event.origin_server_ts, self.keys["m.room.member", event.sender],
                event.type, self.keys[event.key] if event.is_state else None, self._status(event_id),
                self.judgements.rejected.get(event_id),
                tuple([self.nids[cited] for cited in event.auth_events if cited in self.nids]), chain, seq,
                None if placement is None else placement.links, arrivals[event_id].json,
            )  # fmt: skip

    def _status(self, event_id: str) -> int:
        return REJECTED if event_id in self.judgements.rejected else OUTLIER


def new_of(events: Iterable[Event], known: Mapping[str, StoredEvent]) -> Iterator[Event]:
    """Those of the events that nobody has judged before."""
    return (one for one in events if (k := known.get(one.event_id)) is None or is_unjudged(k))


def numbered(
    events: Iterable[Event], known: Mapping[str, StoredEvent], numbers: Sequence[int]
) -> dict[str, int]:
    """Numbers for the events: the known ones keep theirs."""
    nids = {event_id: one.nid for event_id, one in known.items()}
    new = (event.event_id for event in events if event.event_id not in known)
    return nids | dict(zip(new, numbers, strict=True))


def _membership(event: Event) -> int | None:
    return MEMBERSHIPS.get(event.membership or "") if event.type == "m.room.member" else None
