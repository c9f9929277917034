"""Keeps the room lists of the users who sync by windows: one query to begin with, then what changed.

A list may be newer than the snapshot it is used with, never older: what it shows too early is told next time.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from attrs import define, field

from homeserver.core.event import Event
from homeserver.core.sliding_request import Choice, ListWish
from homeserver.services.notifier import ActiveUser, Notifier
from homeserver.services.sliding.room_list import ENCRYPTED, GONE, JOIN, NAME, TYPE, RoomList
from storage import room_lists, spaces
from storage.committer import Kind
from storage.database import Connection
from storage.events import EventReader
from storage.key_histories import key_histories
from storage.room_lists import Listed

MAX_ROOMS = 150_000  # in all lists together
DIRECT, TAG = "m.direct", "m.tag"
MOVES = {Kind.EVENTS, Kind.ANYTHING}
TAKEN_AT_ONCE = 500  # rooms, before others get their turn


@define(eq=False)
class _Kept:
    rooms: RoomList
    lock: asyncio.Lock = field(factory=asyncio.Lock)


@define(eq=False)
class RoomLists:
    """The lists by user."""

    notifier: Notifier
    reader: EventReader
    _lists: OrderedDict[int, _Kept] = field(factory=OrderedDict)
    _count: int = 0

    def kept(self, user_nid: int) -> RoomList | None:
        """The user's list as it was read last, if it is in memory."""
        kept = self._lists.get(user_nid)
        return kept.rooms if kept is not None and kept.rooms.position else None

    async def current(
        self, conn: Connection, user: ActiveUser, now: int, lists: Mapping[str, ListWish]
    ) -> RoomList:
        """The user's list with everything up to `now`, and the facts that these lists are filtered by."""
        kept = self._lists.setdefault(user.user_nid, _Kept(RoomList(user.user_nid)))
        self._lists.move_to_end(user.user_nid)
        async with kept.lock:
            before = len(kept.rooms.rooms)
            if not kept.rooms.position:
                kept.rooms = await self._read(conn, user.user_nid, now)
            elif kept.rooms.position < now:
                await self._renew(conn, user, kept.rooms, now)
            self._count += len(kept.rooms.rooms) - before
            unread = kept.rooms.unread() if kept.rooms.position > now else {}
            await self._learn(conn, kept.rooms, lists)
            kept.rooms.read_again(unread)
        self._trim()
        return kept.rooms

    async def _read(self, conn: Connection, user_nid: int, now: int) -> RoomList:
        rooms = RoomList(user_nid)
        listed = await room_lists.all_rooms(conn, user_nid)
        for start in range(0, len(listed), TAKEN_AT_ONCE):
            rooms.put(listed[start : start + TAKEN_AT_ONCE])
            await asyncio.sleep(0)
        await self._mark_ended(conn, rooms, listed)
        await self._read_account_data(conn, rooms, now)
        rooms.position = now
        return rooms

    async def _renew(self, conn: Connection, user: ActiveUser, rooms: RoomList, now: int) -> None:
        """Read what changed, told by the notifier's marks where they reach."""
        since, left = rooms.position, rooms.with_membership(*GONE)
        told = since >= user.floor and now <= self.notifier.position
        kinds = user.marks.since(since) if told else {Kind.ANYTHING}
        touched = {
            nid
            for nid in (user.fresh_since(since) if told else ())
            if self.notifier.room_marks(nid).since(since) & MOVES
        }
        listed: list[Listed] = []
        if not told:
            listed = await room_lists.changed_rooms(conn, user.user_nid, since, left)
        elif kinds & MOVES:
            touched |= left if Kind.ANYTHING in kinds else set()
            listed = await room_lists.some_rooms(conn, user.user_nid, touched, since)
        elif touched:
            listed = await room_lists.some_rooms(conn, user.user_nid, touched, now)
        rooms.put(listed)
        await self._mark_ended(conn, rooms, listed)
        if kinds & {Kind.ACCOUNT_DATA, Kind.ANYTHING}:
            await self._read_account_data(conn, rooms, now)
        rooms.position = now

    async def _mark_ended(self, conn: Connection, rooms: RoomList, listed: Iterable[Listed]) -> None:
        """Find the rooms that others put the user out of, if the user had been in them."""
        ended = [
            one.room_nid
            for one in listed
            if one.membership in GONE and one.ended_by != rooms.user_nid and not one.forgotten
        ]
        if not ended:
            return
        found = await key_histories(conn, self.reader, [(nid, rooms.user_nid, 0) for nid in ended])
        for (room_nid, _), values in found.items():
            members = [value.event for _, value in values if value is not None]
            if _was_in(members):
                rooms.ended.add(room_nid)

    async def _read_account_data(self, conn: Connection, rooms: RoomList, now: int) -> None:
        rows = await room_lists.account_data(conn, rooms.user_nid, rooms.position, (DIRECT, TAG))
        rooms.take_account_data(
            [(nid, kind, None if content is None else orjson.loads(content)) for nid, kind, content in rows],
            now,
        )

    async def _learn(self, conn: Connection, rooms: RoomList, lists: Mapping[str, ListWish]) -> None:
        """Read the facts that filters ask for, where they are not known yet."""
        filters = [wish.filter for wish in lists.values()]
        if any(one.types != Choice() for one in filters):
            await self._learn_contents(conn, rooms, TYPE, "type")
        if any(one.flags.encrypted is not None for one in filters):
            outdated = list(rooms.facts[ENCRYPTED].unread)
            having = await room_lists.having_state(conn, outdated, ENCRYPTED) if outdated else set()
            for nid in outdated:
                rooms.facts[ENCRYPTED].put(nid, nid in having)
        if any(one.name_like for one in filters):
            await self._learn_contents(conn, rooms, NAME, "name")
        wanted = {space for one in filters for space in one.spaces or ()}
        if wanted:
            await self._learn_children(conn, rooms, wanted)

    async def _learn_contents(self, conn: Connection, rooms: RoomList, kind: str, name: str) -> None:
        """What the room's event of this kind has under this name."""
        facts = rooms.facts[kind]
        outdated = list(facts.unread)
        if not outdated:
            return
        read = room_lists.room_types if kind == TYPE else room_lists.room_names
        found = await read(conn, outdated)
        for number, nid in enumerate(outdated):
            value = orjson.loads(found[nid])["content"].get(name) if nid in found else None
            facts.put(nid, value if isinstance(value, str) else None)
            if number % TAKEN_AT_ONCE == TAKEN_AT_ONCE - 1:
                await asyncio.sleep(0)

    async def _learn_children(self, conn: Connection, rooms: RoomList, wanted: Iterable[str]) -> None:
        """Which rooms the spaces name, of those that the user is in."""
        joined = rooms.with_membership(JOIN)
        nids = {rooms.nids[space] for space in wanted if space in rooms.nids}
        for nid in nids - joined:
            rooms.children.pop(nid, None)
        sps = {nid: rooms.rooms[nid].head_sp for nid in nids & joined}
        outdated = [nid for nid, sp in sps.items() if rooms.children.get(nid, (None,))[0] != sp]
        found = await spaces.children(conn, self.reader, outdated) if outdated else {}
        for nid in outdated:
            ids = frozenset(
                stored.event.state_key or ""
                for stored in found.get(nid, ())
                if _is_child(stored.event.content)
            )
            rooms.children[nid] = (sps[nid], ids)

    def _trim(self) -> None:
        while self._count > MAX_ROOMS and len(self._lists) > 1:
            _, kept = self._lists.popitem(last=False)
            self._count -= len(kept.rooms.rooms)


def _was_in(members: Sequence[Event]) -> bool:
    """Did others end the user's membership, rather than an invitation, or after the user had left?"""
    for event in reversed(members):
        if event.membership == "join":
            return True
        if event.membership not in ("leave", "ban") or event.sender == event.state_key:
            return False
    return False


def _is_child(content: Mapping[str, Any]) -> bool:
    """A child without servers to join by has been removed [cs "m.space.child"]."""
    return isinstance(content.get("via"), list)
