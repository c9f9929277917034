"""The state beside the timelines of a sync answer: differences of main lines, read for all rooms together."""

from collections.abc import Mapping, Sequence

from attrs import frozen

from homeserver.core.sync_fold import state_before_timeline
from homeserver.services.room_parts import RoomPart
from homeserver.services.sent_members import SentMembers
from homeserver.services.sync_request import SyncRequest
from storage import room_state
from storage.database import Connection
from storage.events import EventReader, StoredEvent
from storage.state_keys import StateKeys, user_key

Entries = Mapping[int, Mapping[int, int]]  # room_nid -> key_nid -> event_nid


@frozen
class SyncStates:
    """Fills the states of room parts."""

    reader: EventReader
    state_keys: StateKeys
    sent: SentMembers

    async def fill(
        self,
        conn: Connection,
        request: SyncRequest,
        parts: Sequence[RoomPart],
        heroes: Mapping[int, Sequence[int]],
    ) -> None:
        """Give each part its state events. `heroes`: members that the summaries name, which must be known."""
        lazy, legacy = request.view.lazy_members, request.style.legacy
        await self._differences(conn, parts, members=not lazy)
        needed = await self._needed(conn, request, parts, heroes) if lazy else {}
        starts = await self._starts(conn, parts) if legacy else {}
        wanted = {}
        for part in parts:
            at_start = starts.get(part.room_nid, {})
            sent = _sent_keys(part) if legacy else frozenset[int]()
            wanted[part.room_nid] = state_before_timeline(part.final, sent, at_start)
        found = await self._load(conn, wanted, needed)
        for part in parts:
            events = {nid: found[nid] for nid in wanted[part.room_nid] if nid in found}
            if lazy:
                events = self._lazily(request, part, events, needed.get(part.room_nid, {}), found)
            keep = request.view.room.state
            part.state = [stored for stored in events.values() if keep is None or keep(stored.event)]

    async def _differences(self, conn: Connection, parts: Sequence[RoomPart], *, members: bool) -> None:
        current = [part for part in parts if part.whole and part.joined]
        lines = [part for part in parts if not (part.whole and part.joined) and not part.in_line]
        whole = (
            await room_state.whole_current(conn, [part.room_nid for part in current], members=members)
            if current
            else {}
        )
        stretches = [
            (part.room_nid, 0 if part.whole else part.low_sp, part.high_sp)
            for part in lines
            if part.high_sp > part.low_sp or part.whole
        ]
        changed = await room_state.deltas(conn, stretches) if stretches else {}
        for part in parts:
            if part.in_line:
                part.final = {
                    event.key_nid: event.nid
                    for event in part.events
                    if event.on_line and event.key_nid is not None
                }
            else:
                part.final = {**(whole if part in current else changed).get(part.room_nid, {})}

    async def _starts(self, conn: Connection, parts: Sequence[RoomPart]) -> Entries:
        """The values at the start of timelines of those keys that the timelines' events set."""
        places = [
            (part.room_nid, key, part.start_sp + 1)
            for part in parts
            if part.whole or (part.high_sp > part.low_sp and not part.in_line)
            for key in _sent_keys(part)
        ]
        values = await room_state.replaced(conn, places) if places else {}
        return _by_room(values)

    async def _needed(
        self,
        conn: Connection,
        request: SyncRequest,
        parts: Sequence[RoomPart],
        heroes: Mapping[int, Sequence[int]],
    ) -> Entries:
        """The members that a lazy client needs: who speaks, who names the room, and the user [cs "Lazy-loading"]."""
        ids = {event.event.sender for part in parts for event in part.events}
        nids = await self.state_keys.find(conn, [user_key(user_id) for user_id in ids])
        places = []
        for part in parts:
            users = {nids.get(user_key(event.event.sender)) for event in part.events}
            users |= set(heroes.get(part.room_nid, ()))
            if part.whole:
                users.add(request.user.user_nid)
            if not request.style.legacy:  # then members in the timeline change no state
                users |= _sent_members(part)
            sent = _sent_keys(part) if request.style.legacy else frozenset[int]()
            places += [
                (part.room_nid, user, part.high_sp + 1)
                for user in users
                if user is not None and user not in sent
            ]
        values = await room_state.replaced(conn, places) if places else {}
        return _by_room(values)

    async def _load(
        self, conn: Connection, wanted: Mapping[int, Sequence[int]], needed: Entries
    ) -> dict[int, StoredEvent]:
        nids = {nid for some in wanted.values() for nid in some}
        nids |= {nid for members in needed.values() for nid in members.values()}
        return await self.reader.by_nids(conn, nids) if nids else {}

    def _lazily(
        self,
        request: SyncRequest,
        part: RoomPart,
        events: Mapping[int, StoredEvent],
        needed: Mapping[int, int],
        found: Mapping[int, StoredEvent],
    ) -> dict[int, StoredEvent]:
        """Without members, but for those that have changed, or that the client needs and does not have."""
        device, room_nid = request.device_nid, part.room_nid
        if part.anew:
            self.sent.forget(device, [room_nid])
        known = {} if request.view.redundant_members else self.sent.known(device, room_nid)
        told = {
            nid: stored
            for nid, stored in events.items()
            # Who has the list of members keeps it by the changes that syncs tell [cs "Lazy-loading room members"].
            if not part.whole or stored.event.type != "m.room.member" or stored.key_nid in needed
        }
        told |= {nid: found[nid] for user, nid in needed.items() if known.get(user) != nid and nid in found}
        self.sent.remove(
            device, room_nid, {stored.key_nid for nid, stored in events.items() if nid not in told}
        )
        members = [
            stored for stored in (*told.values(), *part.events) if stored.event.type == "m.room.member"
        ]
        self.sent.add(
            device, room_nid, {stored.key_nid: stored.nid for stored in members if stored.key_nid is not None}
        )
        return told


def _by_room(values: Mapping[tuple[int, int, int], int]) -> dict[int, dict[int, int]]:
    found: dict[int, dict[int, int]] = {}
    for (room_nid, key_nid, _), nid in values.items():
        found.setdefault(room_nid, {})[key_nid] = nid
    return found


def _sent_keys(part: RoomPart) -> frozenset[int]:
    """The keys that state events of the timeline set."""
    return frozenset(event.key_nid for event in part.events if event.key_nid is not None)


def _sent_members(part: RoomPart) -> set[int]:
    """The members that the timeline tells of."""
    return {
        event.key_nid
        for event in part.events
        if event.key_nid is not None and event.event.type == "m.room.member"
    }
