"""The rooms of a sync answer, written out: timelines and states in the client form, summaries, invitations."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from attrs import field, frozen

from homeserver.core.client_event import client_dict, client_form, federation_dict
from homeserver.core.push.counts import NONE_UNREAD, Unread
from homeserver.core.sync_fold import room_section
from homeserver.core.sync_view import project
from homeserver.core.tokens import page_token
from homeserver.core.unwanted import Invited
from homeserver.services.aggregations import Aggregations
from homeserver.services.client_events import Facts, unsigned
from homeserver.services.notification_counts import NotificationCounts
from homeserver.services.notifier import ActiveUser
from homeserver.services.now import now_ms
from homeserver.services.room_parts import RoomPart
from homeserver.services.sync_request import SyncRequest
from storage import current_events, user_news
from storage.database import Connection
from storage.events import StoredEvent
from storage.room_batches import MEMBERSHIPS
from storage.state_keys import StateKeys
from storage.user_news import UserRoom

INVITE, KNOCK = MEMBERSHIPS["invite"], MEMBERSHIPS["knock"]
NAMES = {"m.room.name": "name", "m.room.canonical_alias": "alias"}  # type -> field of what names a room
_SUMMARIZED = ("m.room.member", *NAMES)


@frozen
class Passing:
    """What is told of joined rooms beside timeline and state, by room."""

    ephemeral: Mapping[int, list[Any]]
    account_data: Mapping[int, list[Any]]
    unread: Mapping[int, Unread] = field(factory=dict)
    read: frozenset[int] = (
        frozenset()
    )  # rooms whose counts may have changed though nothing else is told of them

    def rooms(self) -> set[int]:
        """The rooms that something of it belongs to; 0, no room, is not among them."""
        return (self.ephemeral.keys() | self.account_data.keys() | self.read) - {0}

    def counts(self, room_nid: int, request: SyncRequest) -> Mapping[str, Any]:
        """The unread counts of a room."""
        return self.unread.get(room_nid, NONE_UNREAD).as_fields(by_thread=request.view.threads)


@frozen
class Beside:
    """What is told with events: facts of this reader, and bundled aggregations by event id."""

    facts: Facts
    bundles: Mapping[str, Mapping[str, Any]]


@frozen
class RoomSections:
    """Writes rooms out."""

    aggregations: Aggregations
    state_keys: StateKeys
    counts: NotificationCounts

    async def heroes(
        self, conn: Connection, request: SyncRequest, parts: Iterable[RoomPart]
    ) -> dict[int, list[int]]:
        """The members that name each room without a name, where they may have changed [cs "/sync" `m.heroes`]."""
        rooms = {part.room_nid for part in parts if _summary_changed(part)}
        if not rooms:
            return {}
        reader = self.aggregations.client_events.reader
        names = await current_events.of_rooms(conn, reader, rooms, NAMES)
        unnamed = [nid for nid in rooms if not any(map(_is_name, names.get(nid, {}).values()))]
        found = await user_news.heroes(conn, request.user.user_nid, unnamed) if unnamed else {}
        return {nid: found.get(nid, []) for nid in unnamed}

    async def beside(
        self,
        conn: Connection,
        request: SyncRequest,
        parts: Sequence[RoomPart],
        memberships: Mapping[int, str],
    ) -> Beside:
        """What is told beside the events; aggregations only where a timeline begins anew [cs "Aggregations"]."""
        events = [event for part in parts for event in part.events]
        events += [event for part in parts for event in part.state if event.redacted_by is not None]
        facts = await self.aggregations.client_events.facts(conn, events, memberships)
        begun = [event for part in parts if part.limited or part.anew for event in part.events]
        bundles = await self.aggregations.of(conn, begun, request.audience) if begun else {}
        return Beside(facts, bundles)

    async def summaries(
        self, conn: Connection, parts: Iterable[RoomPart], heroes: Mapping[int, Sequence[int]]
    ) -> dict[int, dict[str, Any]]:
        """Who is in the rooms, as far as that may have changed [cs "/sync" `summary`]."""
        names = await self.state_keys.user_ids(conn, {nid for nids in heroes.values() for nid in nids})
        return {
            part.room_nid: {
                **_heroes_of(part, heroes, names),
                "m.joined_member_count": part.row.joined,
                "m.invited_member_count": part.row.invited,
            }
            for part in parts
            if _summary_changed(part)
        }

    def written(
        self,
        request: SyncRequest,
        parts: Iterable[RoomPart],
        beside: Beside,
        summaries: Mapping[int, Mapping[str, Any]],
        passing: Passing,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The sections of `join` and `leave` by room id."""
        pen = Pen(request, beside, now_ms())
        join, leave = {}, {}
        for part in parts:
            nid = part.room_nid
            account_data = passing.account_data.get(nid, [])
            if part.joined:
                ephemeral = passing.ephemeral.get(nid, [])
                summary = summaries.get(nid)
                told = part.whole or part.events or part.state or part.limited or ephemeral or account_data
                if not told and nid not in passing.read:
                    continue
                join[part.row.room_id] = room_section(
                    timeline=pen.timeline(part),
                    state=pen.state(part),
                    account_data=account_data,
                    ephemeral=ephemeral,
                    summary=summary,
                    unread=passing.counts(nid, request),
                )
            else:
                leave[part.row.room_id] = room_section(
                    timeline=pen.timeline(part), state=pen.state(part), account_data=account_data
                )
        return join, leave

    def quiet(self, request: SyncRequest, room_ids: Mapping[int, str], passing: Passing) -> dict[str, Any]:
        """Sections of joined rooms in which only something passes by."""
        timeline = {"events": [], "limited": False, "prev_batch": page_token(request.position)}
        return {
            room_id: room_section(
                timeline=timeline,
                state=(request.style.state_name, []),
                account_data=passing.account_data.get(nid, []),
                ephemeral=passing.ephemeral.get(nid, []),
                unread=passing.counts(nid, request),
            )
            for nid, room_id in room_ids.items()
        }


@frozen
class Pen:
    """Writes events for one reader."""

    request: SyncRequest
    beside: Beside
    now: int

    def timeline(self, part: RoomPart) -> dict[str, Any]:
        """A room's events, and where those before them begin."""
        first = part.events[0].position if part.events else None
        before = first - 1 if first is not None else max(part.upto if part.limited else part.after, 0)
        return {
            "events": [self.event(stored) for stored in part.events],
            "limited": part.limited,
            "prev_batch": page_token(before),
        }

    def state(self, part: RoomPart) -> tuple[str, list[Any]]:
        """The events beside the timeline, and what they are called."""
        return self.request.style.state_name, [self.event(stored) for stored in part.state]

    def event(self, stored: StoredEvent) -> Any:
        """One event."""
        bundle = self.beside.bundles.get(stored.event.event_id)
        told = unsigned(stored, self.beside.facts, self.request.audience, self.now, bundle)
        fields = self.request.view.fields
        if fields is None:
            return client_form(self.beside.facts.shown(stored), told, room_id=False)
        shape = federation_dict if fields.federation else client_dict
        event = shape(stored.event, told)
        return event if fields.only is None else project(event, fields.only)


def _summary_changed(part: RoomPart) -> bool:
    """May the summary be different from what the client has?"""
    return part.joined and (
        part.whole or not part.in_line or any(event.event.type in _SUMMARIZED for event in part.events)
    )


def _is_name(stored: StoredEvent) -> bool:
    """Does this event give the room a name? An empty one takes it away [cs "m.room.name"]."""
    return bool(stored.event.content.get(NAMES[stored.event.type]))


def _heroes_of(
    part: RoomPart, heroes: Mapping[int, Sequence[int]], names: Mapping[int, str]
) -> dict[str, list[str]]:
    nids = heroes.get(part.room_nid)
    return {} if nids is None else {"m.heroes": [names[nid] for nid in nids]}


def invite_sections(
    rows: Iterable[UserRoom], since: int, user: ActiveUser
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The sections of `invite` and `knock`, with the stripped state that came with them."""
    invite: dict[str, Any] = {}
    knock: dict[str, Any] = {}
    for row in rows:
        if row.position <= since or row.membership not in (INVITE, KNOCK):
            continue
        text = row.stripped_state or "[]"
        if row.membership == KNOCK:
            knock[row.room_id] = {"knock_state": {"events": orjson.Fragment(text)}}
        elif is_wanted(inviter(text), user):
            invite[row.room_id] = {"invite_state": {"events": orjson.Fragment(text)}}
    return invite, knock


def is_wanted(sender: str | None, user: ActiveUser) -> bool:
    """Is the user shown an invite? [cs "Ignoring Users", "Invite permission"]"""
    if sender is None:
        return True
    return sender not in (user.ignored or ()) and user.invite_rules.judge(sender) is Invited.WELCOME


def inviter(text: str) -> str | None:
    """Who sent the invitation: the member event stands last in its stripped state."""
    events = orjson.loads(text)
    members = [
        event
        for event in events
        if event.get("type") == "m.room.member" and event.get("content", {}).get("membership") == "invite"
    ]
    return members[-1].get("sender") if members else None
