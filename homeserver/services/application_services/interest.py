"""Which application services care for what happens in which rooms [as "Registration"].

A service cares for a room by the room's id, by an alias, or while a user of its namespace is in it. For the last, one
*witness* a service and room is remembered: whoever of its users has been in for longest. As long as no event of a page
is about a witness, and the witness came before the page, the page needs no look into the database; nor does it where
there was no witness as of a moment before the page, and no user of the service's comes in it. Else (somebody came or
went, or the service was down for a day) the memberships of its users in the page are read from the rooms' main lines.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import zip_longest

from attrs import define, field, frozen

from homeserver.core.application_services import ApplicationService, Namespace
from homeserver.core.membership import JOIN
from storage import application_services as rows
from storage.application_services import MemberChange, PassingEvent, Spans
from storage.database import Connection
from storage.events import EventReader
from storage.state_keys import StateKeys
from storage.timelines import line_ends

MAX_ROOMS = 50_000
MAX_USERS = 200_000

Ids = frozenset[str]  # of services
_NONE: Ids = frozenset()


@frozen
class Page:
    """Events of (after, upto], and the clock of the snapshot that they were read from."""

    after: int
    upto: int
    now: int
    events: Sequence[PassingEvent]


@define
class _Room:
    """Who was in a room as of a position: for each service the user of its that came first, and when."""

    as_of: int
    witnesses: dict[str, tuple[int, int]] = field(factory=dict)  # service -> (since, user_nid)


@define(eq=False)
class Interests:
    """Knows services by their ids. Bounded, and of use without any of what it remembers."""

    services: Sequence[ApplicationService]
    reader: EventReader
    state_keys: StateKeys
    _rooms: OrderedDict[int, _Room] = field(factory=OrderedDict)
    _users: OrderedDict[int, Ids] = field(factory=OrderedDict)
    _seen: int = 0  # up to where pages have been looked at

    def spans(self) -> Spans:
        """Between which ids the users of services are."""
        found = [span for one in self.services for span in user_spans(one)]
        return sorted(set(found))

    def of_user(self, nid: int, user_id: str) -> Ids:
        """The services that a user belongs to."""
        known = self._users.get(nid)
        if known is None:
            known = frozenset(one.id for one in self.services if one.has_user(user_id))
            self._users[nid] = known
            if len(self._users) > MAX_USERS:
                self._users.popitem(last=False)
        return known

    async def of_users(self, conn: Connection, nids: Iterable[int]) -> dict[int, Ids]:
        """The same of several."""
        wanted = set(nids)
        found = {nid: self._users[nid] for nid in wanted if nid in self._users}
        names = await self.state_keys.user_ids(conn, wanted - found.keys()) if wanted - found.keys() else {}
        return found | {nid: self.of_user(nid, name) for nid, name in names.items()}

    async def in_page(self, conn: Connection, page: Page) -> dict[int, Ids]:
        """event_nid -> the services that care for it; events that none cares for are left out."""
        if page.after > self._seen:
            self._rooms.clear()  # what happened in between, nobody has looked at
        room_nids = {event.room_nid for event in page.events}
        member_nids = {event.member_nid for event in page.events if event.member_nid is not None}
        targets = await self.of_users(conn, member_nids)
        fixed = await self._by_name(conn, room_nids)
        inside = await self._inside(conn, page, targets)
        found = {}
        for event in page.events:
            ids = fixed.get(event.room_nid, _NONE) | targets.get(event.member_nid or 0, _NONE)
            ids |= {
                one for one, stays in inside.get(event.room_nid, {}).items() if _covers(stays, event.position)
            }
            if ids:
                found[event.event_nid] = ids
        self._pass(page, targets)
        return found

    async def in_rooms(self, conn: Connection, room_nids: Collection[int], now: int) -> dict[int, Ids]:
        """The services that care for rooms as they are now, for what has no place in timelines."""
        await self._load(conn, room_nids, now)
        fixed = await self._by_name(conn, room_nids)
        return {
            nid: fixed.get(nid, _NONE) | self._rooms[nid].witnesses.keys()
            for nid in room_nids
            if nid in self._rooms
        }

    async def _by_name(self, conn: Connection, room_nids: Collection[int]) -> dict[int, Ids]:
        """By rooms' ids and aliases."""
        found: dict[int, Ids] = {}
        if any(one.namespaces.rooms for one in self.services):
            for nid, room in (await self.reader.rooms.by_nids(conn, room_nids)).items():
                found[nid] = frozenset(one.id for one in self.services if one.has_room(room.room_id))
        if any(one.namespaces.aliases for one in self.services):
            for nid, alias in await rows.aliases_of_rooms(conn, room_nids):
                ids = frozenset(one.id for one in self.services if one.has_alias(alias))
                found[nid] = found.get(nid, _NONE) | ids
        return found

    async def _inside(
        self, conn: Connection, page: Page, targets: Mapping[int, Ids]
    ) -> dict[int, dict[str, list[tuple[int, int]]]]:
        """room -> service -> the stretches of the clock in which users of its were in the room."""
        room_nids = {event.room_nid for event in page.events}
        await self._load(conn, room_nids, page.now)
        firsts: dict[int, int] = {}
        moved: dict[int, set[int]] = {}
        for event in page.events:
            firsts.setdefault(event.room_nid, event.position)
            if targets.get(event.member_nid or 0):
                moved.setdefault(event.room_nid, set()).add(event.member_nid or 0)
        unsure = {
            nid for nid in room_nids if not self._is_sure(nid, firsts[nid], moved.get(nid, set()), targets)
        }
        for nid in unsure:
            del self._rooms[nid]
        await self._load(conn, unsure, page.now)  # a witness as of now has been there for longest
        found: dict[int, dict[str, list[tuple[int, int]]]] = {
            nid: {
                one_id: [(since, page.upto + 1)] for one_id, (since, _) in self._rooms[nid].witnesses.items()
            }
            for nid in room_nids
        }
        for nid, one_id, stay in await self._exactly(conn, unsure, page) if unsure else ():
            found[nid].setdefault(one_id, []).append(stay)
        return found

    def _is_sure(self, nid: int, first: int, users: Collection[int], targets: Mapping[int, Ids]) -> bool:
        """Do the witnesses, or that there are none, hold from the first event of a page to its end?"""
        known = self._rooms[nid]
        came = frozenset[str]().union(*(targets[user] for user in users))
        for one in self.services:
            since, user_nid = known.witnesses.get(one.id, (0, 0))
            if user_nid and (since > first or user_nid in users):
                return False
            if not user_nid and (first <= known.as_of or one.id in came):
                return False
        return True

    async def _exactly(
        self, conn: Connection, room_nids: Collection[int], page: Page
    ) -> list[tuple[int, str, tuple[int, int]]]:
        """(room, service, stretch) of users of services whose membership changed after the page's beginning."""
        ends = await line_ends(conn, dict.fromkeys(room_nids, page.after))
        lines = {nid: ends.get(nid, 0) for nid in room_nids}
        changes = await rows.member_changes(conn, lines, self.spans())
        events = await self.reader.by_nids(
            conn, {one.event_nid for one in changes if one.event_nid is not None}
        )
        joined = {nid for nid, stored in events.items() if stored.event.membership == JOIN}
        found = []
        for change, end in _with_ends(changes, page.upto + 1):
            if change.event_nid in joined:
                ids = self.of_user(change.user_nid, change.user_id)
                found += [(change.room_nid, one_id, (change.position, end)) for one_id in ids]
        return found

    async def _load(self, conn: Connection, room_nids: Collection[int], now: int) -> None:
        """Look who is in rooms that are not remembered."""
        cold = [nid for nid in room_nids if nid not in self._rooms]
        for nid in room_nids:
            if nid in self._rooms:
                self._rooms.move_to_end(nid)
        if not cold:
            return
        for nid in cold:
            self._rooms[nid] = _Room(now)
        for member in await rows.members_now(conn, cold, self.spans()):
            witnesses = self._rooms[member.room_nid].witnesses
            for one_id in self.of_user(member.user_nid, member.user_id):
                candidate = (member.since, member.user_nid)
                witnesses[one_id] = min(witnesses.get(one_id, candidate), candidate)

    def _pass(self, page: Page, targets: Mapping[int, Ids]) -> None:
        """The page has been looked at: what is remembered holds up to its end, or goes."""
        for event in page.events:
            known = self._rooms.get(event.room_nid)
            ids = targets.get(event.member_nid or 0, _NONE)
            if known is None or not ids or event.position <= known.as_of:
                continue
            about_witness = any(user == event.member_nid for _, user in known.witnesses.values())
            if about_witness or not ids <= known.witnesses.keys():
                del self._rooms[event.room_nid]
        for nid in {event.room_nid for event in page.events} & self._rooms.keys():
            self._rooms[nid].as_of = max(self._rooms[nid].as_of, page.upto)
        self._seen = max(self._seen, page.upto)
        while len(self._rooms) > MAX_ROOMS:
            self._rooms.popitem(last=False)


def user_spans(service: ApplicationService) -> list[tuple[str, str]]:
    """Between which ids the users of one service are."""
    namespaces: Sequence[Namespace] = service.namespaces.users
    return [(service.sender, service.sender), *(one.span() for one in namespaces)]


def _covers(stays: Iterable[tuple[int, int]], position: int) -> bool:
    return any(begin <= position < end for begin, end in stays)


def _with_ends(changes: Sequence[MemberChange], last: int) -> list[tuple[MemberChange, int]]:
    """Each change with where the next one of the same user and room is."""
    return [
        (one, other.position)
        if other is not None and (other.room_nid, other.user_nid) == (one.room_nid, one.user_nid)
        else (one, last)
        for one, other in zip_longest(changes, changes[1:])
    ]
