"""What a pusher has to tell now: read from the database at the last moment, so that nothing is told that was read."""

from collections.abc import Collection, Mapping
from typing import Any

import orjson
from attrs import frozen

from homeserver.core.event import StateKey
from homeserver.core.push.gateway import EVENT_ID_ONLY, Addressee, Surroundings, about_event
from homeserver.services.notification_counts import NotificationCounts
from homeserver.services.unwanted import wishes
from storage import current_events, notifications, pushers
from storage.database import Connection, Database
from storage.events import EventReader, StoredEvent
from storage.memberships import LocalMembership, joined_rooms, local_membership
from storage.notifications import Due, Notification
from storage.pushers import Pusher
from storage.state_keys import StateKeys, user_key

AT_ONCE = 20


@frozen
class Letter:
    """One notification for a pusher. `position` is what has been told after it, `ts` when the event was sent."""

    position: int
    ts: int
    unread: int
    body: Mapping[str, Any]


@frozen
class Batch:
    """The pusher as it is now (None: it is gone), its next letters, and whether these are all."""

    pusher: Pusher | None
    letters: list[Letter]
    complete: bool


@frozen
class PushContents:
    """Reads what is to be told."""

    database: Database
    reader: EventReader
    state_keys: StateKeys
    counts: NotificationCounts

    async def batch(self, nid: int, upto: int, room_nids: Collection[int] | None) -> Batch:
        """The next letters of a pusher."""
        async with self.database.read(snapshot=True) as conn:
            pusher = await pushers.one(conn, nid)
            if pusher is None:
                return Batch(None, [], complete=True)
            ignored, _ = await wishes(conn, pusher.user_nid)
            keys = await self.state_keys.find(conn, map(user_key, ignored)) if ignored else {}
            due = Due(pusher.user_nid, pusher.position, upto, room_nids, list(keys.values()))
            found = await notifications.due(conn, due, AT_ONCE)
            letters = await self._letters(conn, pusher, found) if found else []
        return Batch(pusher, letters, complete=len(found) < AT_ONCE)

    async def unread(self, user_nid: int) -> int:
        """How much a user has not read, in all rooms."""
        async with self.database.read(snapshot=True) as conn:
            return await self._unread(conn, user_nid)

    async def _unread(self, conn: Connection, user_nid: int) -> int:
        ignored, _ = await wishes(conn, user_nid)
        rooms = await joined_rooms(conn, user_nid)
        found = await self.counts.count(conn, user_nid, rooms, ignored)
        return sum(one.badge for one in found.values())

    async def _letters(self, conn: Connection, pusher: Pusher, found: list[Notification]) -> list[Letter]:
        events = await self.reader.by_nids(conn, [one.event_nid for one in found])
        unread = await self._unread(conn, pusher.user_nid)
        user_id = (await self.state_keys.user_ids(conn, [pusher.user_nid]))[pusher.user_nid]
        letters = []
        for one in found:
            stored = events.get(one.event_nid)
            if stored is None:
                continue
            around = await self._around(conn, pusher, stored)
            body = about_event(
                stored.event,
                addressee(pusher),
                user_id=user_id,
                tweaks=_tweaks(one.actions),
                unread=unread,
                around=around,
            )
            letters.append(Letter(one.position, stored.event.origin_server_ts, unread, body))
        return letters

    async def _around(self, conn: Connection, pusher: Pusher, stored: StoredEvent) -> Surroundings:
        if pusher.wish.data.get("format") == EVENT_ID_ONLY:
            return Surroundings()
        name, alias = ("m.room.name", ""), ("m.room.canonical_alias", "")
        member = user_key(stored.event.sender)
        state = await current_events.of_keys(conn, self.reader, stored.room.nid, [name, alias, member])
        contents = {key: entry.event.content for key, entry in state.items()}
        if not contents:  # a room of others: what the invite told of it is all we know
            contents = told_with(await local_membership(conn, pusher.user_nid, stored.room.nid))
        return Surroundings(
            room_name=_text(contents.get(name), "name"),
            room_alias=_text(contents.get(alias), "alias"),
            sender_name=_text(contents.get(member), "displayname"),
        )


def addressee(pusher: Pusher) -> Addressee:
    """The device that a pusher is for."""
    wish = pusher.wish
    return Addressee(
        app_id=wish.app_id, pushkey=wish.pushkey, pushkey_ts=pusher.created_ts // 1000, data=wish.data
    )


def _tweaks(actions: str) -> dict[str, Any]:
    told = orjson.loads(actions)
    return {item["set_tweak"]: item.get("value", True) for item in told if isinstance(item, dict)}


def told_with(invited: LocalMembership | None) -> dict[StateKey, Mapping[str, Any]]:
    """Contents of the stripped state that came with an invite [cs "Stripped state"]."""
    told = orjson.loads(invited.stripped_state) if invited and invited.stripped_state else []
    return {
        (one["type"], one["state_key"]): one["content"]
        for one in told
        if isinstance(one.get("type"), str)
        and isinstance(one.get("state_key"), str)
        and isinstance(one.get("content"), dict)
    }


def _text(content: Mapping[str, Any] | None, name: str) -> str | None:
    value = None if content is None else content.get(name)
    return value if isinstance(value, str) else None
