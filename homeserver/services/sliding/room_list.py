"""One user's rooms, the most active last, and what they are filtered by: in memory, kept up by reading what changed.

Sets of room numbers, so that a filter of a list of thousands of rooms is a few operations on sets.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson
from attrs import define, field

from homeserver.core.sliding_request import Choice, Flags, RoomFilter
from storage.room_batches import MEMBERSHIPS
from storage.room_lists import Listed

JOIN, INVITE, KNOCK = MEMBERSHIPS["join"], MEMBERSHIPS["invite"], MEMBERSHIPS["knock"]
GONE = (MEMBERSHIPS["leave"], MEMBERSHIPS["ban"])

ENCRYPTED, TYPE, NAME = "m.room.encryption", "m.room.create", "m.room.name"

Fact = str | bool | None
UNKNOWN = "\x00"  # a fact that nobody can tell: no filter asks for it


@define(eq=False)
class Facts:
    """One thing that is known of rooms; of those in `unread` it must be read (again)."""

    values: dict[int, Fact] = field(factory=dict)
    by_value: dict[Fact, set[int]] = field(factory=dict)
    unread: set[int] = field(factory=set)

    def put(self, room_nid: int, value: Fact) -> None:
        """The room is like this."""
        self.drop(room_nid)
        self.values[room_nid] = value
        self.by_value.setdefault(value, set()).add(room_nid)

    def drop(self, room_nid: int) -> None:
        """The room is no more."""
        self.unread.discard(room_nid)
        if room_nid in self.values:
            self.by_value[self.values.pop(room_nid)].discard(room_nid)

    def with_value(self, value: Fact) -> set[int]:
        """The rooms that are like this."""
        return self.by_value.get(value, set())


@define(eq=False)
class RoomList:
    """The rooms as of `position`. What is shared by many lists and connections of the user."""

    user_nid: int
    position: int = 0
    rooms: dict[int, Listed] = field(factory=dict)
    nids: dict[str, int] = field(factory=dict)
    order: dict[int, int] = field(factory=dict)  # room_nid -> activity, rising
    by_membership: dict[int, set[int]] = field(factory=dict)
    facts: dict[str, Facts] = field(factory=lambda: {ENCRYPTED: Facts(), TYPE: Facts(), NAME: Facts()})
    ended: set[int] = field(factory=set)  # by others, of those the user had been in
    inviters: dict[int, str | None] = field(factory=dict)
    direct: frozenset[str] = frozenset()
    direct_since: int = 0  # when the direct ones were last read
    tags: dict[str, set[int]] = field(factory=dict)
    children: dict[int, tuple[int, frozenset[str]]] = field(factory=dict)  # of spaces, as of an sp

    def put(self, listed: Iterable[Listed]) -> None:
        """Take up rooms as they are now."""
        for one in sorted(listed, key=lambda one: one.activity):
            self._put(one)

    def _put(self, one: Listed) -> None:
        nid = one.room_nid
        before = self.rooms.get(nid)
        if before is not None:
            self._take_out(before)
        if one.forgotten:
            self._forget(nid)
            return
        self.rooms[nid] = one
        self.nids[one.room_id] = nid
        self.by_membership.setdefault(one.membership, set()).add(nid)
        if before is None or before.activity != one.activity:
            self.order.pop(nid, None)  # so that it stands last
            self.order[nid] = one.activity
        if one.membership in (INVITE, KNOCK):
            self._take_stripped(one)
        elif before is None or before.membership != one.membership:
            for facts in self.facts.values():
                facts.unread.add(nid)
        elif before.head_sp != one.head_sp and one.membership == JOIN:
            self.facts[ENCRYPTED].unread.add(nid)
            self.facts[NAME].unread.add(nid)

    def _take_out(self, before: Listed) -> None:
        nid = before.room_nid
        self.by_membership[before.membership].discard(nid)
        self.ended.discard(nid)
        self.inviters.pop(nid, None)

    def _forget(self, nid: int) -> None:
        one = self.rooms.pop(nid, None)
        if one is not None:
            self.nids.pop(one.room_id, None)
            self.order.pop(nid, None)
        for facts in self.facts.values():
            facts.drop(nid)

    def _take_stripped(self, one: Listed) -> None:
        """Who is only invited has the room's facts from the invitation."""
        nid = one.room_nid
        events = [event for event in orjson.loads(one.stripped_state or "[]") if isinstance(event, dict)]
        by_type = {event.get("type"): event for event in events}
        self.inviters[nid] = next(
            (
                event.get("sender")
                for event in reversed(events)
                if event.get("type") == "m.room.member"
                and _content(event).get("membership") == "invite"
            ),
            None,
        )  # fmt: skip
        self.facts[ENCRYPTED].put(nid, ENCRYPTED in by_type if events else UNKNOWN)
        self.facts[TYPE].put(nid, _text(_content(by_type.get(TYPE)).get("type")) if events else UNKNOWN)
        self.facts[NAME].put(nid, _text(_content(by_type.get(NAME)).get("name")))

    def unread(self) -> dict[str, set[int]]:
        """What has to be read (again), by kind."""
        return {kind: set(facts.unread) for kind, facts in self.facts.items()}

    def read_again(self, unread: Mapping[str, set[int]]) -> None:
        """Facts that were read as of before the list's time; and so were children of spaces."""
        for kind, nids in unread.items():
            self.facts[kind].unread |= nids & self.rooms.keys()
        if unread:
            self.children.clear()

    def take_account_data(self, rows: Iterable[tuple[int, str, Any]], position: int) -> None:
        """Direct rooms and tags, as far as they are new."""
        for room_nid, kind, content in rows:
            if kind == "m.direct" and not room_nid:
                self.direct, self.direct_since = _direct(content), position
            elif kind == "m.tag" and room_nid:
                self._tag(room_nid, content)

    def _tag(self, room_nid: int, content: Any) -> None:
        for rooms in self.tags.values():
            rooms.discard(room_nid)
        tags = content.get("tags") if isinstance(content, Mapping) else None
        for name in tags if isinstance(tags, Mapping) else ():
            self.tags.setdefault(name, set()).add(room_nid)

    def newest(self) -> Iterator[int]:
        """All rooms, the most active first."""
        return reversed(self.order)

    def active_since(self, position: int) -> Iterator[int]:
        """The rooms in which something happened after a position, the latest first."""
        for nid, activity in reversed(self.order.items()):
            if activity <= position:
                return
            yield nid

    def with_membership(self, *memberships: int) -> set[int]:
        """The rooms in which the user is one of these."""
        found: set[int] = set()
        for membership in memberships:
            found |= self.by_membership.get(membership, set())
        return found

    def direct_nids(self) -> set[int]:
        """The rooms that are direct messages, as far as they are among these."""
        return {self.nids[room_id] for room_id in self.direct if room_id in self.nids}

    def is_unread(self, room_nid: int, wanted: RoomFilter) -> bool:
        """Must anything that this filter asks of the room be read (again)?"""
        asked = {
            ENCRYPTED: wanted.flags.encrypted is not None,
            TYPE: wanted.types != Choice(),
            NAME: bool(wanted.name_like),
        }
        return any(room_nid in self.facts[kind].unread for kind, is_asked in asked.items() if is_asked)

    def passing(self, wanted: RoomFilter, listed: set[int]) -> set[int]:
        """Those of the rooms that pass a filter, whose facts have been read [MSC4186 "SlidingRoomFilter"]."""
        found = self._flagged(wanted.flags, listed)
        if wanted.types != Choice():
            found = _chosen(found, wanted.types, self.facts[TYPE].with_value)
        if wanted.tags != Choice():
            found = _chosen(found, wanted.tags, lambda tag: self.tags.get(tag or "", set()))
        if wanted.spaces is not None:
            found = found & self._in_spaces(wanted.spaces)
        if wanted.name_like:
            found = found & self._named_like(wanted.name_like.casefold())
        return found

    def _flagged(self, flags: Flags, listed: set[int]) -> set[int]:
        found = listed
        if flags.invited is not None:
            found = _split(found, self.by_membership.get(INVITE, set()), flags.invited)
        if flags.dm is not None:
            found = _split(found, self.direct_nids(), flags.dm)
        if flags.encrypted is not None:
            found = found & self.facts[ENCRYPTED].with_value(flags.encrypted)
        return found

    def _in_spaces(self, spaces: Iterable[str]) -> set[int]:
        nids = [self.nids[space] for space in spaces if space in self.nids]
        ids = {room_id for nid in nids if nid in self.children for room_id in self.children[nid][1]}
        return {self.nids[room_id] for room_id in ids if room_id in self.nids}

    def _named_like(self, part: str) -> set[int]:
        names = self.facts[NAME].by_value
        return {nid for name, nids in names.items() if part in str(name or "").casefold() for nid in nids}


def _split(rooms: set[int], marked: set[int], wanted: bool) -> set[int]:
    return rooms & marked if wanted else rooms - marked


def _chosen(rooms: set[int], choice: Choice, having: Callable[[str | None], set[int]]) -> set[int]:
    if choice.only is not None:
        rooms = rooms & set().union(*(having(value) for value in choice.only))
    return rooms.difference(*(having(value) for value in choice.never))


def _direct(content: Any) -> frozenset[str]:
    """The rooms that m.direct names [cs "Direct Messaging"]."""
    lists = content.values() if isinstance(content, Mapping) else ()
    return frozenset(
        room_id for rooms in lists if isinstance(rooms, list) for room_id in rooms if isinstance(room_id, str)
    )


def _content(event: Any) -> Mapping[str, Any]:
    content = event.get("content") if isinstance(event, Mapping) else None
    return content if isinstance(content, Mapping) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
