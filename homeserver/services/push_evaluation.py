"""Whom the events of a step notify: told together with them, so that no count is ever behind or beside an event.

One evaluation of the predefined rules does for all who have changed nothing that matters in the room; their outcome
is one row, which names those only for whom it is another: the sender, whom the event names, who has other rules.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from attrs import define, field, frozen

from homeserver.core.auth.state import CREATE
from homeserver.core.event import Event
from homeserver.core.power_levels import power_levels
from homeserver.core.push.conditions import Facts, seen_by_rules
from homeserver.core.push.counts import MAIN
from homeserver.core.push.defaults import ROOM_WORD
from homeserver.core.push.evaluate import SILENCE, Actions
from homeserver.core.relations import THREAD, relation_of
from homeserver.services.audiences import Audience, Audiences, Group
from homeserver.services.identity import Identity
from homeserver.services.room_heads import Head, RoomHeads
from storage import notifications, thread_subscriptions
from storage.events import StoredEvent
from storage.outbound_events import SAYS_NOTHING
from storage.room_batches import EventRow, MembershipChange, NoticeRow
from storage.state_keys import StateKeys, user_key

# What of an event the predefined rules look at, unless they look into texts, too. Nearly all events have neither
# mentions nor relations; what these come to is remembered by the rest.
LOOKED_AT: Final = frozenset(
    {
        "type",
        "state_key",
        "content.msgtype",
        "content.m\\.mentions.room",
        "content.m\\.relates_to.rel_type",
    }
)
MAX_PLAIN = 1_000
POWER_LEVELS: Final = ("m.room.power_levels", "")
FURTHER_HOPS = 2  # from the parent of an event to the root of its thread [cs "Marking notifications as read"]
NAMED_AT_ONCE = 100  # users whose names are read, before others get their turn
Subscribers = frozenset[int] | None  # of the thread that an event is in, if it is in one


@frozen
class Step:
    """What is about to be written: rows, those of their events that are in the timeline, whom of ours they move."""

    rows: Sequence[EventRow]
    events: Sequence[StoredEvent]
    memberships: Sequence[MembershipChange]


@frozen
class Called:
    """Whom a text mentions by what it says: users, and everybody."""

    users: frozenset[str] = frozenset()
    everybody: bool = False

    def __bool__(self) -> bool:
        return self.everybody or bool(self.users)


NOBODY: Final = Called()


@define(eq=False)
class PushEvaluation:
    """Evaluates push rules for the writer, which holds the lock of the room's head meanwhile.

    `marked`: what counts as unread without notifying is written, too [MSC2625].
    """

    heads: RoomHeads
    audiences: Audiences
    state_keys: StateKeys
    identity: Identity
    marked: bool = False
    _plain: dict[tuple[str, str | None, str | None, bool], Actions] = field(factory=dict, init=False)

    async def notices(self, head: Head, step: Step) -> tuple[NoticeRow, ...]:
        """Whom the step notifies. From now on the room's audience is what the step makes of it."""
        if not step.events:
            return ()
        await self._refresh(head)
        assert head.audience is not None
        found: list[NoticeRow] = []
        wanted = {stored.nid: stored.event for stored in step.events}
        for index, row in enumerate(step.rows):
            event = wanted.get(row.event_nid)
            if event is None:
                continue
            looked = head.audience.people is not None
            called = await self._called(head, head.audience, event) if looked else NOBODY
            if not called and _is_plain(head.audience, event):
                found += self._of_plain(head, event, index)
            else:
                found += await self._of_event(head, event, called, (index, row.sender_nid))
        if step.memberships:
            head.audience.moved(step.memberships, self.audiences.book)
        return tuple(found)

    async def of_invite(self, event: Event, user_nid: int) -> NoticeRow | None:
        """What an invitation to a room that we are not in says to the one of ours whom it invites."""
        assert event.state_key is not None
        if self.audiences.book.is_stale:
            await self.audiences.book.renew()
        rules = (await self.audiences.personal([(user_nid, event.state_key)]))[user_nid]
        actions = rules.actions(Facts(seen_by_rules(event), 0, lambda _: False))
        if not actions.notify:
            return None
        return NoticeRow(0, False, actions.highlight, (user_nid,), MAIN, actions.as_json)

    async def _refresh(self, head: Head) -> None:
        book, audience = self.audiences.book, head.audience
        if audience is None and not head.version:
            head.audience = self.audiences.new()  # a new room
            return
        if audience is None:
            await head.settled()  # who has just entered must be found in the database
        elif not audience.pending and audience.seen == book.changes and not book.is_stale:
            return
        head.audience = await self.audiences.current(audience, head.room.nid, head.room.room_id)

    def _of_plain(self, head: Head, event: Event, index: int) -> list[NoticeRow]:
        msgtype = event.content.get("msgtype")
        # A count of members is compared with two only.
        key = (event.type, msgtype if isinstance(msgtype, str) else None, event.state_key, head.joined == 2)
        general = self._plain.get(key)
        if general is None:
            general = self.audiences.general.actions(
                Facts(seen_by_rules(event), head.joined, lambda _: False)
            )
            if len(self._plain) >= MAX_PLAIN:
                self._plain.clear()
            self._plain[key] = general
        if general.notify:
            return [NoticeRow(index, True, general.highlight, (), MAIN, general.as_json)]
        if not self._marks(event):
            return []
        return [NoticeRow(index, False, False, (), MAIN, SILENCE.as_json)]

    async def _called(self, head: Head, audience: Audience, event: Event) -> Called:
        """Whom a message that does not say so itself mentions, if that is looked for [cs v1.16 "Predefined Rules"]."""
        body = event.content.get("body")
        assert audience.people is not None
        if not isinstance(body, str) or "m.mentions" in event.content:
            return NOBODY
        if audience.unnamed:
            await self._learn_names(head, audience)
        text = body.lower()
        return Called(frozenset(audience.people.called(text) - {event.sender}), ROOM_WORD in text)

    async def _learn_names(self, head: Head, audience: Audience) -> None:
        assert audience.people is not None
        async with self.heads.database.read() as conn:
            users = list((await self.state_keys.user_ids(conn, audience.unnamed)).values())
        for start in range(0, len(users), NAMED_AT_ONCE):
            some = users[start : start + NAMED_AT_ONCE]
            await self.heads.ensure(head, map(user_key, some))
            for user_id in some:
                member: Event | None = head.event(user_key(user_id))
                if member is not None and member.membership == "join":
                    audience.people.put(user_id, _display_name(head, user_id))
                else:
                    audience.people.remove(user_id)
            await asyncio.sleep(0)
        audience.unnamed.clear()

    async def _of_event(
        self, head: Head, event: Event, called: Called, row: tuple[int, int]
    ) -> list[NoticeRow]:
        audience, (index, sender_nid) = head.audience, row
        assert audience is not None
        facts = Facts(seen_by_rules(event), head.joined, lambda kind: _may_notify(head, event.sender, kind))
        if called.everybody or "m.mentions" in event.content:
            await self.heads.ensure(head, (POWER_LEVELS, CREATE))
        general = self.audiences.general.actions(facts)
        others: dict[int, Actions] = {}
        subscribers = await self._subscribers(head, audience, event)
        for group in audience.groups.values():
            others |= await self._of_group(head, group, facts, subscribers)
        others |= await self._of_named(head, named_users(event) | called.users, facts, subscribers)
        others.pop(sender_nid, None)  # [cs "Push Rules"] nobody is notified of what they have sent
        marks = self._marks(event)
        outcomes = _outcomes(general, others, marked=self.marked)
        if not outcomes and not marks:
            return []
        thread = await self._thread_of(event)
        if not outcomes:
            return [NoticeRow(index, False, False, (), thread, SILENCE.as_json)]
        return [
            NoticeRow(index, everybody, actions.highlight, users, thread, actions.as_json)
            for actions, everybody, users in outcomes
        ]

    async def _subscribers(self, head: Head, audience: Audience, event: Event) -> Subscribers:
        """Who is subscribed to the event's thread, where anybody's rules ask for it."""
        relation = relation_of(event.content)
        if relation is None or relation.rel_type != THREAD or event.is_state:
            return None
        if not any(group.rules.needs_subscription for group in audience.groups.values()):
            return None
        async with self.heads.database.read() as conn:
            return await thread_subscriptions.subscribers(conn, head.room.nid, relation.parent_id)

    def _marks(self, event: Event) -> bool:
        """Has its sender, one of ours, read what was before [cs "Marking notifications as read"] by sending it?"""
        return not event.is_state and event.type != SAYS_NOTHING and self.identity.is_ours(event.sender)

    async def _of_group(
        self, head: Head, group: Group, facts: Facts, subscribers: Subscribers
    ) -> dict[int, Actions]:
        names = group.rules.needs_display_name
        if not names and (subscribers is None or not group.rules.needs_subscription):
            return dict.fromkeys(group.users, group.rules.actions(facts))
        if names:
            await self.heads.ensure(head, [user_key(user_id) for user_id in group.users.values()])
        found = {}
        for nid, user_id in group.users.items():
            name = _display_name(head, user_id) if names else None
            found[nid] = group.rules.actions(facts.of_reader(name, _is_among(nid, subscribers)))
        return found

    async def _of_named(
        self, head: Head, users_named: Collection[str], facts: Facts, subscribers: Subscribers
    ) -> dict[int, Actions]:
        """What the event comes to for those of ours whom it names."""
        named = [user_id for user_id in users_named if self.identity.is_ours(user_id)]
        if not named:
            return {}
        users = await self._numbers(named)
        rules = await self.audiences.personal(users)
        found = {}
        for nid, user_id in users:
            name = None
            if rules[nid].needs_display_name:
                await self.heads.ensure(head, [user_key(user_id)])
                name = _display_name(head, user_id)
            found[nid] = rules[nid].actions(facts.of_reader(name, _is_among(nid, subscribers)))
        return found

    async def _numbers(self, user_ids: Collection[str]) -> list[tuple[int, str]]:
        """The numbers of those of the users who have one: no other can have been in a room."""
        known = [(self.state_keys.known(user_key(user_id)), user_id) for user_id in user_ids]
        if all(nid is not None for nid, _ in known):
            return [(nid, user_id) for nid, user_id in known if nid is not None]
        async with self.heads.database.read() as conn:
            found = await self.state_keys.find(conn, map(user_key, user_ids))
        return [(nid, key[1]) for key, nid in found.items()]

    async def _thread_of(self, event: Event) -> str:
        """The root of the thread that the event is in [cs "Threaded read receipts"]."""
        relation = relation_of(event.content)
        if relation is None or event.is_state:
            return MAIN
        if relation.rel_type == THREAD:
            return relation.parent_id
        async with self.heads.database.read() as conn:
            return await notifications.thread_of(conn, relation.parent_id, FURTHER_HOPS)


def _is_among(user_nid: int, subscribers: Subscribers) -> bool | None:
    return None if subscribers is None else user_nid in subscribers


def _is_plain(audience: Audience, event: Event) -> bool:
    """Does the event come to the same for all, by what is looked at in nearly every event?"""
    if audience.groups or event.type == "m.room.member":
        return False
    return "m.mentions" not in event.content and "m.relates_to" not in event.content


def named_users(event: Event) -> set[str]:
    """Users whom the predefined rules about a user may be about: who is invited, who is mentioned."""
    named = {event.state_key} if event.type == "m.room.member" and event.state_key else set()
    mentions = event.content.get("m.mentions")
    users = mentions.get("user_ids") if isinstance(mentions, Mapping) else None
    if isinstance(users, list):
        named |= {user_id for user_id in users if isinstance(user_id, str) and "\x00" not in user_id}
    return named - {event.sender}


def _outcomes(
    general: Actions, others: Mapping[int, Actions], *, marked: bool
) -> list[tuple[Actions, bool, tuple[int, ...]]]:
    """(actions, everybody, users): what notifies anybody, or is unread for them, each outcome once."""
    differing: dict[str, tuple[Actions, list[int]]] = {}
    for nid, actions in others.items():
        if actions.as_json != general.as_json:
            differing.setdefault(actions.as_json, (actions, []))[1].append(nid)
    made: list[tuple[Actions, bool, tuple[int, ...]]] = []
    if general.notify:
        made.append((general, True, tuple(nid for _, nids in differing.values() for nid in nids)))
    made += [
        (actions, False, tuple(nids))
        for actions, nids in differing.values()
        if actions.notify or (marked and actions.marks)
    ]
    return made


def _may_notify(head: Head, sender: str, kind: str) -> bool:
    levels, create = head.state.get(POWER_LEVELS), head.state.get(CREATE)
    return power_levels(
        None if levels is None else levels.event, None if create is None else create.event, head.room.version
    ).may_notify(sender, kind)


def _display_name(head: Head, user_id: str) -> str | None:
    member: Event | None = head.event(user_key(user_id))
    name: Any = None if member is None else member.content.get("displayname")
    return name if isinstance(name, str) else None
