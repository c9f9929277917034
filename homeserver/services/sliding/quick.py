"""The sliding sync answer that most wake-ups need, from memory: plain messages in rooms that the client knows.

It is the answer that `SlidingGather` would give, and given only where all of this holds; else that one is asked:

- The last look at this connection left nothing unsaid (`settled`), and memory reaches back to it (`floor`, the tails).
- For the user as such nothing happened that the client listens to, in rooms nothing but events.
- The events are plain messages of people who are not ignored, in rooms where the user was all the time. None redacts
  another or relates to another of them. (Plain messages change nothing that lists filter by, nor who is there.)
- Coming first in the order of activity does not change which rooms are in the windows.
- The client knows the room without a gap, as much of its state and timeline as is wanted, and with lazy loading
  everybody who speaks; and all new events fit into the timeline. So it has the same of the room after the answer.
- A room that stands in no window has been lagging before, or is not known to the client.
- There are no more rooms than one answer tells.

When nothing of what happened concerns the client, the empty answer makes it wait on without a query.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import orjson
from attrs import define, field

from homeserver.core.client_event import client_form
from homeserver.core.sliding_extensions import ExtensionWishes
from homeserver.core.sliding_request import ListWish, RoomWish
from homeserver.core.tokens import page_token
from homeserver.services.client_events import Facts, unsigned
from homeserver.services.notification_counts import NotificationCounts
from homeserver.services.notifier import ActiveUser, Notifier
from homeserver.services.now import now_ms
from homeserver.services.sliding import gather
from homeserver.services.sliding.connections import Settled
from homeserver.services.sliding.gather import Gathered, Round
from homeserver.services.sliding.room_lists import RoomLists
from homeserver.services.sliding.windows import combined
from homeserver.services.sync_quick import is_plain
from homeserver.services.sync_request import SyncRequest
from homeserver.services.tails import Tails
from storage.committer import Kind
from storage.events import StoredEvent
from storage.room_batches import MEMBERSHIP_NAMES, MEMBERSHIPS
from storage.room_lists import BUMP_TYPES
from storage.state_keys import user_key
from storage.sync_connections import SentRoom

MAX_TIMELINES = 500
JOIN = MEMBERSHIP_NAMES[MEMBERSHIPS["join"]]

_MESSAGES = {Kind.EVENTS}


@define(eq=False)
class SlidingQuick:
    """Answers from memory where it can."""

    notifier: Notifier
    tails: Tails
    counts: NotificationCounts
    lists: RoomLists
    # By first and last event: events never change their place.
    _timelines: OrderedDict[tuple[int, int], orjson.Fragment] = field(factory=OrderedDict)

    def gather(self, asked: Round) -> Gathered | None:
        """Everything that is new for the client; None where that takes more than memory."""
        settled, request, since = asked.settled, asked.request, asked.position
        user, unheard = request.user, _unheard(asked.query.extensions)
        if settled is None or since < user.floor or user.ignored is None:
            return None
        if user.marks.since(since) - unheard:
            return None
        extensions = self._extensions(asked)
        if extensions is None:
            return None
        rooms = {}
        for nid in user.fresh_since(since):
            kinds = self.notifier.room_marks(nid).since(since) - unheard
            if not kinds:
                continue
            events = self._messages(user, nid, since) if kinds == _MESSAGES else None
            if events is None:
                return None
            room = self._room(asked, settled, nid, events)
            if room is None:
                return None
            if room:
                rooms[events[0].room.room_id] = room
        if len(rooms) > gather.MAX_TOLD:
            return None
        now = max(since, self.notifier.position)
        return Gathered(now, rooms, extensions, settled, empty=not rooms)

    def _extensions(self, asked: Round) -> dict[str, Any] | None:
        """What is told though nothing is new; None where there may be something in the inbox."""
        wish, user = asked.query.extensions.to_device, asked.request.user
        if wish is None or asked.request.device_nid is None:
            return {}
        if wish.since is None or wish.since < user.floor or Kind.TO_DEVICE in user.marks.since(wish.since):
            return None
        upto = max(wish.since, asked.position, self.notifier.position)
        return {"to_device": {"next_batch": str(upto), "events": []}}

    def _messages(self, user: ActiveUser, room_nid: int, since: int) -> Sequence[StoredEvent] | None:
        """The room's new events; None if they are not all plain messages."""
        events = self.tails.since(room_nid, since) if user.rooms[room_nid] <= since else None
        if not events or not all(is_plain(event) for event in events):
            return None
        senders = {stored.event.sender for stored in events}
        if user.ignored and not user.ignored.isdisjoint(senders):
            return None
        redact = any(stored.event.type == "m.room.redaction" for stored in events)
        return None if redact or _are_related(events) else events

    def _room(
        self, asked: Round, settled: Settled, room_nid: int, events: Sequence[StoredEvent]
    ) -> dict[str, Any] | None:
        """What there is to say of a room; empty: nothing. None where memory does not tell."""
        names = self._windows(asked.request.user.user_nid, settled, room_nid)
        before = asked.sent.get(room_nid)
        if names is None:
            return None
        if not names and room_nid not in settled.subscribed:
            return {} if before is None or before.told is not None else None  # it lags from now on
        wish = combined(settled.query, names, settled.subscribed.get(room_nid))
        if before is None or not self._stays(before, wish, events):
            return None
        room: dict[str, Any] = self._timeline(asked.request, events)
        if asked.query.counted:
            unread = self.counts.quick(asked.request.user, room_nid)
            if unread is None:
                return None
            total = unread.total
            room |= {"notification_count": total.notifications, "highlight_count": total.highlights}
        bumps = [stored.position or 0 for stored in events if stored.event.type in BUMP_TYPES]
        if bumps:
            room["bump_stamp"] = max(bumps)
        room["membership"] = JOIN
        if names:
            room["lists"] = names
        return room

    def _windows(self, user_nid: int, settled: Settled, room_nid: int) -> list[str] | None:
        """The lists in whose windows the room stands; None if others may stand there when it comes first."""
        names = []
        for name, wish in settled.query.lists.items():
            whole = len(settled.windows[name]) == settled.counts[name]
            if room_nid in settled.windows[name]:
                if not (whole or _is_first(wish)):
                    return None
                names.append(name)
            elif not whole and self._may_pass(user_nid, wish, room_nid):
                return None
        return names

    def _may_pass(self, user_nid: int, wish: ListWish, room_nid: int) -> bool:
        kept = self.lists.kept(user_nid)
        if kept is None or room_nid not in kept.rooms or kept.is_unread(room_nid, wish.filter):
            return True
        return bool(kept.passing(wish.filter, {room_nid}))

    def _stays(self, before: SentRoom, wish: RoomWish, events: Sequence[StoredEvent]) -> bool:
        """Is what the client has of the room the same when it has these events, too?"""
        if before.stub or before.told is not None or before.wish != wish.state.digest:
            return False
        if before.have < wish.limit or len(events) > wish.limit:
            return False
        if not wish.state.lazy_members:
            return True
        known = self.counts.state_keys.known
        return all(known(user_key(stored.event.sender)) in before.members for stored in events)

    def _timeline(self, request: SyncRequest, events: Sequence[StoredEvent]) -> dict[str, Any]:
        first = events[0].position
        assert first is not None
        return {
            "timeline": self._written(request, events),
            "limited": False,
            "prev_batch": page_token(first - 1),
            "num_live": len(events),
        }

    def _written(self, request: SyncRequest, events: Sequence[StoredEvent]) -> orjson.Fragment:
        """The events for this reader; all devices but the one that sent any of them share one text."""
        device, key = request.device_nid, (events[0].nid, events[-1].nid)
        own = device is not None and any(stored.txn_device == device for stored in events)
        kept = None if own else self._timelines.get(key)
        if kept is not None:
            return kept
        facts, now = Facts({}, {}, {stored.nid: JOIN for stored in events}), now_ms()
        told = [
            client_form(stored.event, unsigned(stored, facts, request.audience, now), room_id=False)
            for stored in events
        ]
        text = orjson.Fragment(orjson.dumps(told))
        if not own:
            self._timelines[key] = text
            if len(self._timelines) > MAX_TIMELINES:
                self._timelines.popitem(last=False)
        return text


def _unheard(wishes: ExtensionWishes) -> set[Kind]:
    """Kinds that this client is told nothing of. Of profiles it is remembered that it did not listen."""
    kinds = {Kind.PRESENCE, Kind.PEEKS}
    if not wishes.e2ee:
        kinds.add(Kind.DEVICE_LISTS)
    if wishes.typing is None:
        kinds.add(Kind.TYPING)
    if wishes.threads is None:
        kinds.add(Kind.THREAD_SUBSCRIPTIONS)
    return kinds


def _are_related(events: Sequence[StoredEvent]) -> bool:
    """Does one of them relate to another, with which it would be told?"""
    ids = {stored.event.event_id for stored in events}
    relations = [stored.event.content.get("m.relates_to") for stored in events]
    return any(isinstance(one, dict) and one.get("event_id") in ids for one in relations)


def _is_first(wish: ListWish) -> bool:
    """Is the window the beginning of the list?"""
    return wish.ranges is None or (len(wish.ranges) == 1 and wish.ranges[0][0] == 0)
