"""The sync answer that most wake-ups need, from memory: nothing but messages in a few rooms.

It is made of recent timelines in memory and costs no query. A room's section is written once and shared by all who are
woken by the same messages. Whatever is not plain (state, hidden events, filters, receipts, …) is left to `SyncGather`.
"""

from collections import OrderedDict
from collections.abc import Sequence

import orjson
from attrs import define, field

from homeserver.core.client_event import client_form
from homeserver.core.expiry import names_its_end
from homeserver.core.sync_fold import room_section
from homeserver.core.tokens import page_token
from homeserver.services.key_counts import KeyCounts
from homeserver.services.notification_counts import NotificationCounts
from homeserver.services.notifier import Notifier
from homeserver.services.now import now_ms
from homeserver.services.sent_members import SentMembers
from homeserver.services.sync_request import SyncRequest
from homeserver.services.tails import Tails
from storage.committer import Kind
from storage.events import StoredEvent
from storage.state_keys import StateKeys, user_key

MAX_SECTIONS = 500

_MESSAGES = {Kind.EVENTS}
_SILENT = {Kind.PROFILES}  # of which nothing is told
_HEAD = b'{"next_batch":"s%d",%b'


def quiet_answer(position: int, counts: KeyCounts) -> bytes:
    """Nothing is new."""
    return _HEAD % (position, counts.members) + b"}"


@define(eq=False)
class SyncQuick:
    """Answers from memory where it can."""

    notifier: Notifier
    tails: Tails
    sent: SentMembers
    state_keys: StateKeys
    counts: NotificationCounts
    # By first and last event and state's name: events never change their place.
    _sections: OrderedDict[tuple[int, int, str], bytes] = field(factory=OrderedDict)

    def answer(self, request: SyncRequest, counts: KeyCounts) -> bytes | None:
        """The whole answer; None where it takes more than memory."""
        user, since, view = request.user, request.position, request.view
        if request.since is None or request.since.inbox is not None or since < user.floor:
            return None
        if (
            not view.plain
            or user.ignored is None
            or request.style.full_state
            or user.marks.since(since) - _SILENT
        ):
            return None
        rooms = []
        for room_nid in user.fresh_since(since):
            if self.notifier.room_marks(room_nid).since(since) <= _SILENT:
                continue
            room = self._room(request, room_nid)
            if room is None:
                return None
            rooms.append(room)
        if not rooms:
            return None
        head = _HEAD % (max(since, self.notifier.position), counts.members)
        return head + b',"rooms":{"join":{' + b",".join(rooms) + b"}}}"

    def _room(self, request: SyncRequest, room_nid: int) -> bytes | None:
        """One room as a member of a JSON object."""
        since = request.position
        if (
            self.notifier.room_marks(room_nid).since(since) - _SILENT != _MESSAGES
            or request.user.rooms[room_nid] > since
        ):
            return None
        events = self.tails.since(room_nid, since)
        if not events or len(events) > request.limit:
            return None
        if not all(is_plain(event) for event in events) or not self._senders_known(request, events):
            return None
        unread = self.counts.quick(request.user, room_nid)
        if unread is None:
            return None
        own = request.device_nid is not None and any(
            event.txn_device == request.device_nid for event in events
        )
        key = (events[0].nid, events[-1].nid, request.style.state_name)
        section = None if own else self._sections.get(key)
        if section is None:
            section = _section(request, events)
            if not own:
                self._keep(key, section)
        counts = orjson.dumps(unread.as_fields(by_thread=request.view.threads))
        return b"%b,%b" % (section[:-1], counts[1:])

    def _senders_known(self, request: SyncRequest, events: Sequence[StoredEvent]) -> bool:
        """Are none of the senders ignored, and all of them known to a client that loads members lazily?"""
        senders = {event.event.sender for event in events}
        if request.user.ignored and not request.user.ignored.isdisjoint(senders):
            return False
        if not request.view.lazy_members:
            return True
        if request.view.redundant_members:
            return False
        known = self.sent.known(request.device_nid, events[0].room.nid)
        return all(self.state_keys.known(user_key(sender)) in known for sender in senders)

    def _keep(self, key: tuple[int, int, str], section: bytes) -> None:
        self._sections[key] = section
        if len(self._sections) > MAX_SECTIONS:
            self._sections.popitem(last=False)


def is_plain(stored: StoredEvent) -> bool:
    """A message on the room's line that has not been redacted, and looks the same to all devices but its own."""
    linear = stored.state_sp == stored.line_sp and stored.overlay_nid is None
    personal = stored.txn_device is not None and stored.txn_device < 0  # tells its sender that it was delayed
    return (
        linear
        and not personal
        and not stored.event.is_state
        and stored.redacted_by is None
        and stored.status == 0
        and not names_its_end(stored.event)  # who reads it from the database sees whether it has come
    )


def _section(request: SyncRequest, events: Sequence[StoredEvent]) -> bytes:
    now = now_ms()
    told = []
    for stored in events:
        unsigned = {"age": now - stored.event.origin_server_ts, "membership": "join"}
        if stored.txn_id is not None and stored.txn_device == request.device_nid:
            told.append(
                client_form(stored.event, {**unsigned, "transaction_id": stored.txn_id[1:]}, room_id=False)
            )
        else:
            told.append(client_form(stored.event, unsigned, room_id=False))
    first = events[0].position
    assert first is not None
    section = room_section(
        timeline={"events": told, "limited": False, "prev_batch": page_token(first - 1)},
        state=(request.style.state_name, []),
        account_data=[],
        ephemeral=[],
    )
    return orjson.dumps(events[0].room.room_id) + b":" + orjson.dumps(section)
