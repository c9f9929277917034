"""The timelines of a sync answer's rooms: filtered, limited, and only what the user may see."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import frozen

from homeserver.core.visibility import Facts as Around
from homeserver.core.visibility import may_see_event
from homeserver.services.histories import Histories, load_histories
from homeserver.services.room_parts import RoomPart
from homeserver.services.sync_request import SyncRequest
from storage import room_state, timelines
from storage.database import Connection
from storage.events import EventReader, StoredEvent
from storage.state_keys import StateKeys
from storage.timelines import Stretch

MAX_LIMIT = 1000
CHUNK = 100  # events of a room that are read at once when a filter may drop most of them
ROUNDS = 10  # such chunks at most: a filter that fits nearly nothing ends in a limited timeline

Wanted = Callable[[StoredEvent], bool]


@frozen
class SyncTimelines:
    """Fills the timelines of room parts."""

    reader: EventReader
    state_keys: StateKeys

    async def fill(self, conn: Connection, request: SyncRequest, parts: Sequence[RoomPart]) -> dict[int, str]:
        """Give each part its events; returns the user's membership at each of them, by event number."""
        await self._read(conn, request, parts)
        for part in parts:
            if part.own is not None and part.own.position is None:
                part.events = [part.own]  # another server told us, and the room's timeline is not ours
        closed = [part for part in parts if not _open_throughout(part)]
        memberships = {event.nid: "join" for part in parts if part not in closed for event in part.events}
        if any(part.events for part in closed):
            memberships |= await self._visible(conn, request, closed)
        return memberships

    async def _read(self, conn: Connection, request: SyncRequest, parts: Sequence[RoomPart]) -> None:
        limit = min(request.limit, MAX_LIMIT)
        wanted = _wanted(request)
        kept: dict[int, list[StoredEvent]] = {part.room_nid: [] for part in parts}
        open_parts = {part.room_nid: (part, part.upto) for part in parts if part.upto > part.after}
        chunk = limit + 1 if wanted is None else max(limit + 1, CHUNK)
        for _ in range(ROUNDS):
            if not open_parts:
                break
            stretches = [Stretch(nid, part.after, upto) for nid, (part, upto) in open_parts.items()]
            found = await timelines.newest(conn, self.reader, stretches, chunk)
            going_on = {}
            for nid, (part, _) in open_parts.items():
                events = found.get(nid, [])
                fitting = events if wanted is None else [event for event in events if wanted(event)]
                part.dropped = part.dropped or len(fitting) < len(events)
                kept[nid] = fitting + kept[nid]
                if len(kept[nid]) <= limit and len(events) == chunk:
                    assert events[0].position is not None
                    going_on[nid] = (part, events[0].position - 1)
            open_parts = going_on
        for part in parts:
            events = kept[part.room_nid]
            # Who came back may have some of these events already: a limited timeline takes their place.
            rejoined = part.anew and part.joined and request.position > 0
            part.limited = len(events) > limit or part.room_nid in open_parts or rejoined
            part.events = events[-limit:] if limit else []

    async def _visible(
        self, conn: Connection, request: SyncRequest, parts: Sequence[RoomPart]
    ) -> dict[int, str]:
        """Hide what is to be hidden; a timeline that has become short by that goes on with what was before it."""
        read = {part.room_nid: part.events for part in parts}
        memberships = await self._hide(conn, request, parts)
        short = [part for part in parts if part.limited and len(part.events) < len(read[part.room_nid])]
        shown = {part.room_nid: part.events for part in short}
        firsts = {part.room_nid: read[part.room_nid][0].position for part in short}
        stretches = [
            Stretch(part.room_nid, part.after, first - 1)
            for part in short
            if (first := firsts[part.room_nid]) is not None
        ]
        if not stretches:
            return memberships
        older = await timelines.newest(conn, self.reader, stretches, CHUNK)
        wanted = _wanted(request)
        for part in short:
            found = older.get(part.room_nid, [])
            part.events = [event for event in found if wanted is None or wanted(event)]
        memberships |= await self._hide(conn, request, short)
        limit = min(request.limit, MAX_LIMIT)
        for part in short:
            events = shown[part.room_nid]
            part.events = part.events[len(events) - limit :] + events
        return memberships

    async def _hide(
        self, conn: Connection, request: SyncRequest, parts: Sequence[RoomPart]
    ) -> dict[int, str]:
        """Drop what the user may not see [cs "Room history visibility"]."""
        user_nid = request.user.user_nid
        key = ("m.room.history_visibility", "")
        visibility_nid = (await self.state_keys.find(conn, [key])).get(key, 0)
        events = [event for part in parts for event in part.events]
        histories = await load_histories(conn, self.reader, events, [user_nid, visibility_nid])
        seen_nids = {
            event.nid
            for part in parts
            for event in part.events
            if event is part.own
            or event.nid == part.row.event_nid
            or _sees(histories, event, user_nid, visibility_nid)
        }
        # COMPAT(SyTest, clients that take new state from the timeline alone): who is in the room may read its
        # current state anyway.
        hidden = [
            (part.room_nid, event.key_nid, event.nid)
            for part in parts
            if part.joined
            for event in part.events
            if event.key_nid is not None and event.on_line and event.nid not in seen_nids
        ]
        if hidden:
            seen_nids |= await room_state.still_current(conn, hidden)
        for part in parts:
            seen = [event for event in part.events if event.nid in seen_nids]
            if len(seen) < len(part.events):
                part.dropped = True
                part.limited = part.limited or part.anew
            part.events = seen
        told = [event for part in parts for event in part.events if event.state_sp is not None]
        return {event.nid: _membership(histories.after(event, user_nid)) or "leave" for event in told}


def _wanted(request: SyncRequest) -> Wanted | None:
    """What of timelines is told: what the filter keeps, and no messages of ignored users [cs "Ignoring Users"]."""
    keep, ignored = request.view.room.timeline, request.user.ignored
    if keep is None and not ignored:
        return None
    return lambda stored: (
        (keep is None or keep(stored.event))
        and (not ignored or stored.event.is_state or stored.event.sender not in ignored)
    )


def _open_throughout(part: RoomPart) -> bool:
    """Was the user joined at all these events? Then nothing is hidden."""
    if part.peeked or not part.joined:
        return False
    if not part.anew:
        return True
    first = part.events[0].position if part.events else None
    return first is None or part.row.position <= first


def _sees(histories: Histories, event: StoredEvent, user_nid: int, visibility_nid: int) -> bool:
    history = histories.of(event.room.nid, user_nid)
    later = any(_membership(value) == "join" for value in history.changes_after(event.state_sp or 0))
    return may_see_event(
        Around(
            _visibility(histories.before(event, visibility_nid)),
            _visibility(histories.after(event, visibility_nid)),
        ),
        Around(_membership(histories.before(event, user_nid)), _membership(histories.after(event, user_nid))),
        joined_later=later,
    )


def _membership(entry: StoredEvent | None) -> str | None:
    return None if entry is None else entry.event.membership


def _visibility(entry: StoredEvent | None) -> object:
    return None if entry is None else entry.event.content.get("history_visibility")


def senders_of(parts: Iterable[RoomPart]) -> Mapping[int, set[str]]:
    """Who speaks in each room's timeline."""
    return {part.room_nid: {stored.event.sender for stored in part.events} for part in parts}
