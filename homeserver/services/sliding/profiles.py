"""The extension that tells clients what people say about themselves: our own users, who share rooms with the reader.

When a room comes into the extension's scope, whole profiles are told: of everybody there, or with lazy loading of those
who have to be shown; and later of who comes. Beyond that, of everybody in any of the reader's rooms, what changes. Each
room remembers by which wish it was told; whatever may have been missed while another wish held lets it forget. Other
servers' users are left out: of their changes nobody tells us. [MSC4262]
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import orjson
from attrs import field, frozen

from homeserver.core.sliding_extensions import ProfilesWish
from homeserver.services.sliding.moment import Moment, joined, within
from homeserver.services.sliding.room_list import JOIN
from homeserver.services.sync_request import SyncRequest
from storage import profile_changes, user_news
from storage.committer import Kind
from storage.database import Connection
from storage.profile_changes import Crowd, Field
from storage.state_keys import StateKeys

MAX_ROOMS = 400  # of one answer; the others come with the next
NO_ROOM = 0  # stands for the reader's own profile

Users = dict[str, dict[str, Any] | None]


@frozen
class People:
    """What is told: `rooms` are those with another digest from now on. Not `complete`: some rooms were put off."""

    users: Users = field(factory=dict)
    rooms: Mapping[int, int] = field(factory=dict)
    complete: bool = True


@frozen
class SlidingProfiles:
    """Tells profiles."""

    state_keys: StateKeys

    async def gather(
        self, conn: Connection, request: SyncRequest, moment: Moment, gone: Iterable[str]
    ) -> People:
        """What is new; `gone`: who shares no room with the reader any more."""
        wish = moment.selected.query.extensions.profiles
        if wish is None:
            return People(rooms=dict.fromkeys(_missed(moment, None), 0))
        untold = _untold(moment, wish)
        begins = dict(list(untold.items())[:MAX_ROOMS])
        found = await self._whole(conn, request, moment, wish, begins)
        if request.since is not None and Kind.PROFILES in moment.kinds:
            shared, me = list(moment.room_list.with_membership(JOIN)), request.user.user_nid
            found += await profile_changes.since(conn, me, shared, request.position, wish.fields)
        users = await self._written(conn, found)
        rooms = {**dict.fromkeys(_missed(moment, wish), 0), **begins}
        return People(users | dict.fromkeys(gone), rooms, len(begins) == len(untold))

    async def _whole(
        self,
        conn: Connection,
        request: SyncRequest,
        moment: Moment,
        wish: ProfilesWish,
        rooms: Collection[int],
    ) -> list[Field]:
        """Whole profiles of who is in rooms that are told for the first time, and of who came into others."""
        told, me, begins = moment.told, request.user.user_nid, set(rooms)
        lazy = {nid for nid in begins if _is_lazy(nid, moment)}
        some: set[int] = set().union(*(told.people[nid] for nid in _in_scope(told.people, moment, wish)))
        some = some.union(*(sent.members for nid in lazy if (sent := moment.sent(nid)) is not None))
        if lazy:
            some = some.union(*(await user_news.heroes(conn, me, lazy)).values())
        if not begins and not some:
            return []
        shared = list(moment.room_list.with_membership(JOIN))
        crowd = Crowd(begins - lazy - {NO_ROOM}, some, shared, own=NO_ROOM in begins)
        again = request.since is not None and bool(begins - told.begun)  # what is gone may have been told
        return await profile_changes.of_crowd(conn, me, crowd, wish.fields, gone=again)

    async def _written(self, conn: Connection, found: Iterable[Field]) -> Users:
        users: Users = {}
        fields = {(one.user_nid, one.name): one.value for one in found}
        names = await self.state_keys.user_ids(conn, {nid for nid, _ in fields}) if fields else {}
        for (nid, name), value in fields.items():
            told = users.setdefault(names[nid], {})
            assert told is not None
            if value is None:
                told.setdefault("removed", []).append(name)
            else:
                told.setdefault("updated", {})[name] = orjson.Fragment(value)
        return users


def _untold(moment: Moment, wish: ProfilesWish) -> dict[int, int]:
    """The rooms in scope that the client knows but was not told by this wish, and their digests from now on.

    The reader's own profile is told like that of a room.
    """
    digests = {lazily: wish.digest(lazily=lazily) for lazily in (False, True)}
    own = _told(NO_ROOM, moment) != digests[False]
    found = {NO_ROOM: digests[False]} if own else {}
    for nid in _in_scope({*moment.selected.widened, *moment.told.begun}, moment, wish):
        digest = digests[_is_lazy(nid, moment)]
        if moment.sent(nid) is not None and _told(nid, moment) != digest:
            found[nid] = digest
    return found


def _missed(moment: Moment, wish: ProfilesWish | None) -> Iterable[int]:
    """The rooms that were told by another wish, and of whose people the client may now miss something."""
    here = frozenset[int]() if wish is None else _in_scope(moment.told.people, moment, wish)
    found = {nid for nid in moment.told.people.keys() - here if _told(nid, moment)}
    if Kind.PROFILES in moment.kinds:
        good = {0} if wish is None else {0, wish.digest(lazily=True), wish.digest(lazily=False)}
        found |= {nid for nid in moment.known if _told(nid, moment) not in good}
    return found


def _told(room_nid: int, moment: Moment) -> int:
    sent = moment.sent(room_nid)
    return 0 if sent is None else sent.profiles


def _in_scope(nids: Iterable[int], moment: Moment, wish: ProfilesWish) -> frozenset[int]:
    """Those of the rooms of which whole profiles are told."""
    return joined(within(frozenset(nids) & moment.selected.rooms, moment, wish.scope), moment)


def _is_lazy(room_nid: int, moment: Moment) -> bool:
    return moment.selected.wish_of(room_nid).state.lazy_members
