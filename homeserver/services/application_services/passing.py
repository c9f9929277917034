"""What application services are told beside events: receipts, typing, presence, and what encryption needs.

[as "Pushing ephemeral data"], and under the names of proposals: to-device messages [MSC2409], device lists and counts
of keys [MSC3202]. What is typed or seen while a service is down is not told later; receipts and messages are.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import orjson
from attrs import frozen

from homeserver.core.application_services import ApplicationService
from homeserver.core.sync_fold import receipts_events
from homeserver.services.application_services.interest import Interests, Page, user_spans
from homeserver.services.application_services.news import Hints
from homeserver.services.now import now_ms
from homeserver.services.sync_passing import presence_event
from storage import application_services as rows
from storage import presence, receipts, typing
from storage.application_services import Letter
from storage.committer import Kind
from storage.database import Connection
from storage.receipts import PRIVATE
from storage.state_keys import StateKeys

MAX_PRESENCES = 500
MAX_LETTERS = 100
_LISTS = "org.matrix.msc3202.device_lists"
_COUNTS = ("org.matrix.msc3202.device_one_time_keys_count", "org.matrix.msc3202.device_one_time_key_counts")
_UNUSED = "org.matrix.msc3202.device_unused_fallback_key_types"
_LETTERS = "de.sorunome.msc2409.to_device"
_OLD_EPHEMERAL = "de.sorunome.msc2409.ephemeral"


@frozen
class Inbox:
    """To-device messages for users of a service, all there are up to a position."""

    upto: int
    letters: Sequence[Letter] = ()


@frozen
class PassingBy:
    """Reads it."""

    interests: Interests
    state_keys: StateKeys

    async def of(
        self,
        conn: Connection,
        service: ApplicationService,
        page: Page,
        hints: Hints,
        *,
        letters: Sequence[Letter],
    ) -> dict[str, Any]:
        """What a transaction has beside events."""
        told: dict[str, Any] = {}
        if service.wants.ephemeral:
            events = [
                *await self._typing(conn, service, page, hints),
                *await self._receipts(conn, service, page, hints),
                *await self._presence(conn, service, page, hints),
            ]
            if events:
                told["ephemeral"] = events
                if service.wants.old_names:
                    told[_OLD_EPHEMERAL] = events
        if not service.wants.encryption:
            return told
        if letters:
            told[_LETTERS] = [_letter(one) for one in letters]
        changed = await self._device_lists(conn, service, page, hints)
        if changed:
            told[_LISTS] = {"changed": changed, "left": []}
        await self._counts(conn, service, letters, hints, told)
        return told

    async def letters(self, conn: Connection, service: ApplicationService, page: Page, hints: Hints) -> Inbox:
        """The oldest messages for the service's users."""
        users = None if hints.everywhere else hints.users.get(Kind.TO_DEVICE, set())
        if not service.wants.encryption or users == set():
            return Inbox(page.upto)
        span = (page.after, page.upto)
        found = await rows.letters(conn, users, user_spans(service), span, MAX_LETTERS)
        upto = found[-1].position if len(found) >= MAX_LETTERS else page.upto
        return Inbox(upto, [one for one in found if service.has_user(one.user_id)])

    async def _rooms(
        self, conn: Connection, service: ApplicationService, room_nids: Collection[int], page: Page
    ) -> set[int]:
        """Those of the rooms that the service cares for."""
        if not room_nids:
            return set()
        cares = await self.interests.in_rooms(conn, room_nids, page.now)
        return {nid for nid, ids in cares.items() if service.id in ids}

    async def _room_ids(self, conn: Connection, room_nids: Iterable[int]) -> dict[int, str]:
        found = await self.interests.reader.rooms.by_nids(conn, room_nids)
        return {nid: room.room_id for nid, room in found.items()}

    async def _typing(
        self, conn: Connection, service: ApplicationService, page: Page, hints: Hints
    ) -> list[dict[str, Any]]:
        room_nids = await self._rooms(conn, service, hints.typing, page)
        if not room_nids:
            return []
        found = await typing.since(conn, [(nid, page.after) for nid in room_nids])
        names = await self.state_keys.user_ids(conn, {nid for row in found for nid in row.until})
        ids, now = await self._room_ids(conn, room_nids), now_ms()
        return [
            {
                "type": "m.typing",
                "room_id": ids[row.room_nid],
                "content": {
                    "user_ids": sorted(names[nid] for nid, until in row.until.items() if until > now)
                },
            }
            for row in found
        ]

    async def _receipts(
        self, conn: Connection, service: ApplicationService, page: Page, hints: Hints
    ) -> list[dict[str, Any]]:
        where = set(hints.receipts)
        if hints.everywhere:
            where |= set(await rows.receipt_rooms(conn, page.after, page.upto))
        elif readers := hints.users.get(Kind.RECEIPTS):
            own = [
                nid
                for nid, ids in (await self.interests.of_users(conn, readers)).items()
                if service.id in ids
            ]
            where |= set(await rows.private_receipt_rooms(conn, own, page.after, page.upto) if own else ())
        room_nids = await self._rooms(conn, service, where, page)
        if not room_nids:
            return []
        found = await receipts.of_all_since(conn, [(nid, page.after) for nid in room_nids])
        mine = await self.interests.of_users(conn, {one.user_nid for one in found if one.kind == PRIVATE})
        names = await self.state_keys.user_ids(conn, {one.user_nid for one in found})
        ids = await self._room_ids(conn, room_nids)
        told = []
        for nid in room_nids:
            events = receipts_events(
                (one.event_id, one.kind, names[one.user_nid], one.thread_id, one.ts)
                for one in found
                if one.room_nid == nid and (one.kind != PRIVATE or service.id in mine.get(one.user_nid, ()))
            )
            told += [{**event, "room_id": ids[nid]} for event in events]
        return told

    async def _presence(
        self, conn: Connection, service: ApplicationService, page: Page, hints: Hints
    ) -> list[dict[str, Any]]:
        if not hints.everywhere and Kind.PRESENCE not in hints.kinds:
            return []
        nids = await rows.presence_between(conn, page.after, page.upto, MAX_PRESENCES)
        seen = await self._visible(conn, service, nids, page)
        found = await presence.of_users(conn, seen)
        names, now = await self.state_keys.user_ids(conn, found), now_ms()
        return [presence_event(found[nid], names[nid], now) for nid in nids if nid in found]

    async def _visible(
        self, conn: Connection, service: ApplicationService, user_nids: Collection[int], page: Page
    ) -> set[int]:
        """Those of the users who are the service's, or in a room that it cares for."""
        if not user_nids:
            return set()
        mine = await self.interests.of_users(conn, user_nids)
        seen = {nid for nid, ids in mine.items() if service.id in ids}
        places = await rows.rooms_of_users(conn, [nid for nid in user_nids if nid not in seen])
        cares = await self._rooms(conn, service, {room for _, room in places}, page)
        return seen | {nid for nid, room in places if room in cares}

    async def _device_lists(
        self, conn: Connection, service: ApplicationService, page: Page, hints: Hints
    ) -> list[str]:
        if not hints.everywhere and Kind.DEVICE_LISTS not in hints.kinds:
            return []
        nids = await rows.device_list_changes(conn, page.after, page.upto)
        seen = await self._visible(conn, service, nids, page)
        return sorted((await self.state_keys.user_ids(conn, seen)).values()) if seen else []

    async def _counts(
        self,
        conn: Connection,
        service: ApplicationService,
        letters: Collection[Letter],
        hints: Hints,
        told: dict[str, Any],
    ) -> None:
        """How many keys are left to devices that have just got messages, or of whose keys some went."""
        senders = await self.state_keys.find(conn, {("m.room.member", one.user_id) for one in letters})
        nids = {*senders.values(), *hints.users.get(Kind.KEY_COUNTS, ())}
        mine = await self.interests.of_users(conn, nids) if nids else {}
        wanted = [nid for nid, ids in mine.items() if service.id in ids]
        found = await rows.key_counts(conn, wanted) if wanted else []
        if not found:
            return
        counts: dict[str, dict[str, dict[str, int]]] = {}
        unused: dict[str, dict[str, list[str]]] = {}
        for user_id, device_id, left, fallback in found:
            counts.setdefault(user_id, {})[device_id] = {"signed_curve25519": 0, **left}
            unused.setdefault(user_id, {})[device_id] = fallback
        told |= dict.fromkeys(_COUNTS, counts)
        told[_UNUSED] = unused


def _letter(one: Letter) -> dict[str, Any]:
    return {
        "type": one.type,
        "sender": one.sender,
        "content": orjson.Fragment(one.content),
        "to_user_id": one.user_id,
        "to_device_id": one.device_id,
    }
