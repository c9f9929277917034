"""The state that rooms of sliding sync are told with: what changed, what is wanted anew, and members who speak.

All rooms of an answer are read together. [MSC4186 "RequiredStateRequest"]
"""

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from homeserver.core.event import StateKey
from homeserver.core.sliding_state import MEMBER
from homeserver.services.sliding.telling import AVATAR, NAME, Telling
from storage import room_lists, room_state
from storage.database import Connection
from storage.events import EventReader, StoredEvent
from storage.state_keys import StateKeys, user_key

Values = Mapping[int, Mapping[int, int]]  # room_nid -> key_nid -> event_nid


@frozen
class RequiredStates:
    """Fills the states of tellings."""

    reader: EventReader
    state_keys: StateKeys

    async def fill(self, conn: Connection, tellings: Sequence[Telling]) -> None:
        """Find what is told of each room's state, its name and its avatar."""
        await self._deltas(conn, [one for one in tellings if not one.initial])
        await self._wholes(conn, [one for one in tellings if one.initial or one.widened])
        for one in tellings:
            if one.ended_by is not None and one.ended_by.key_nid is not None:
                news = one.whole if one.initial else one.delta
                news[one.ended_by.key_nid] = one.ended_by.nid
        await self._standing(conn, [one for one in tellings if one.may_be_redacted])
        keys = await self.state_keys.names(
            conn, {key for one in tellings for key in (*one.delta, *one.whole, *one.standing)}
        )
        wanted = {one.room_nid: _wanted(one, keys) for one in tellings}
        speakers = await self._speakers(conn, tellings, wanted)
        nids = {nid for news in wanted.values() for nid in news.values() if nid is not None}
        nids |= {nid for members in speakers.values() for nid in members.values()}
        nids |= {nid for one in tellings for nid in _named(one, keys).values() if nid is not None}
        events = await self.reader.by_nids(conn, nids) if nids else {}
        for one in tellings:
            _settle(one, keys, wanted[one.room_nid], events)
            _take_members(one, keys, speakers.get(one.room_nid, {}), events)

    async def _deltas(self, conn: Connection, tellings: Sequence[Telling]) -> None:
        """What the main lines changed since the client's position."""
        moved = [one for one in tellings if one.part.high_sp > one.part.low_sp]
        read = [one for one in moved if not one.part.in_line]
        stretches = [(one.room_nid, one.part.low_sp, one.part.high_sp) for one in read]
        found = await room_state.deltas(conn, stretches) if stretches else {}
        for one in moved:
            if one.part.in_line:
                one.delta = {
                    event.key_nid: event.nid
                    for event in one.part.events
                    if event.on_line and event.key_nid is not None
                }
            else:
                one.delta = found.get(one.room_nid, {})

    async def _wholes(self, conn: Connection, tellings: Sequence[Telling]) -> None:
        """What is wanted of whole states: of rooms that were left, that of when they were."""
        left = [one for one in tellings if not one.part.joined]
        if left:
            ends = [(one.room_nid, 0, one.part.left_sp or one.part.high_sp) for one in left]
            found = await room_state.deltas(conn, ends)
            for one in left:
                one.whole = found.get(one.room_nid, {})
                own = one.part.own
                if own is not None and own.key_nid in one.whole:  # others may have changed it once more
                    one.whole[own.key_nid] = own.nid
        joined = [one for one in tellings if one.part.joined]
        for members in (False, True):
            wild = [
                one
                for one in joined
                if one.wish.state.wild and one.wish.state.all_members is members
            ]  # fmt: skip
            if wild:
                found = await room_state.whole_current(conn, [one.room_nid for one in wild], members=members)
                for one in wild:
                    one.whole = found.get(one.room_nid, {})
        await self._named_keys(conn, joined)

    async def _named_keys(self, conn: Connection, joined: Sequence[Telling]) -> None:
        if not joined:
            return
        keys = {key for one in joined for key in one.wish.state.named()} | {NAME, AVATAR}
        nids = await self.state_keys.find(conn, keys)
        found = await room_lists.state_of_keys(conn, [one.room_nid for one in joined], nids.values())
        for one in joined:
            one.whole = {**one.whole, **found.get(one.room_nid, {})}

    async def _standing(self, conn: Connection, tellings: Sequence[Telling]) -> None:
        """The names and avatars of rooms in which something was redacted, be it these."""
        if not tellings:
            return
        nids = await self.state_keys.find(conn, [NAME, AVATAR])
        found = await room_lists.state_of_keys(conn, [one.room_nid for one in tellings], nids.values())
        for one in tellings:
            one.standing = found.get(one.room_nid, {})

    async def _speakers(
        self, conn: Connection, tellings: Sequence[Telling], wanted: Mapping[int, Mapping[int, int | None]]
    ) -> Values:
        """The members who are needed to show the timelines [MSC4186 "Lazy loaded memberships"]."""
        lazy = [one for one in tellings if one.wish.state.lazy_members and one.part.events]
        senders = {event.event.sender for one in lazy for event in one.part.events}
        nids = await self.state_keys.find(conn, [user_key(user_id) for user_id in senders])
        places = []
        for one in lazy:
            users = {nids.get(user_key(event.event.sender)) for event in one.part.events}
            users |= {event.key_nid for event in one.part.events if event.event.type == MEMBER}
            users -= one.known_members
            places += [
                (one.room_nid, user, one.part.high_sp + 1)
                for user in users
                if user is not None and user not in wanted[one.room_nid]
            ]
        return await values_at(conn, places)


def _wanted(one: Telling, keys: Mapping[int, StateKey]) -> dict[int, int | None]:
    """key_nid -> event_nid of what is told; None: the key has gone."""
    found = {key: nid for key, nid in one.whole.items() if key in keys and one.wants_anyway(keys[key])}
    return found | {key: nid for key, nid in one.delta.items() if key in keys and one.wants(keys[key])}


def _named(one: Telling, keys: Mapping[int, StateKey]) -> dict[StateKey, int | None]:
    """The events that give name and avatar, where these are news."""
    values = one.whole if one.initial else {**one.standing, **one.delta}
    found = {keys[key]: nid for key, nid in values.items() if keys.get(key) in (NAME, AVATAR)}
    return {key: found.get(key) for key in (NAME, AVATAR)} if one.initial else found


def _settle(
    one: Telling,
    keys: Mapping[int, StateKey],
    wanted: Mapping[int, int | None],
    events: Mapping[int, StoredEvent],
) -> None:
    one.told = {key: events[nid] for key, nid in wanted.items() if nid is not None and nid in events}
    one.gone = [keys[key] for key, nid in wanted.items() if nid is None and not one.initial]
    one.named = {
        key: None if nid is None else events.get(nid)
        for key, nid in _named(one, keys).items()
        if one.initial or nid in one.delta.values() or _is_redacted(events.get(nid or 0))
    }
    changed = [keys[key] for key in one.delta if key in keys]
    one.members_changed = one.initial or any(key[0] == MEMBER for key in changed)
    one.withheld = one.old is None or any(one.old.wants(*key) and not one.wants(key) for key in changed)


def _is_redacted(stored: StoredEvent | None) -> bool:
    return stored is not None and stored.redacted_by is not None


def _take_members(
    one: Telling,
    keys: Mapping[int, StateKey],
    speakers: Mapping[int, int],
    events: Mapping[int, StoredEvent],
) -> None:
    """Tell those who speak, and remember who has been told."""
    spoke = {user: events[nid] for user, nid in speakers.items() if nid in events}
    untold = {key for key in one.delta if key in keys and keys[key][0] == MEMBER and key not in one.told}
    one.told |= spoke
    changed = {key for key in one.told if key in keys and keys[key][0] == MEMBER}
    remembered = changed if one.wish.state.lazy_members else set[int]()
    one.members = frozenset((one.known_members - untold) | spoke.keys() | remembered)
    moved = {key for key in one.delta if key in keys and keys[key][0] == MEMBER}
    if one.wish.state.lazy_members:
        moved = (moved & one.told.keys()) | (one.members - one.known_members)
    one.people = frozenset(moved)


async def values_at(conn: Connection, places: Iterable[tuple[int, int, int]]) -> dict[int, dict[int, int]]:
    """For (room_nid, key_nid, sp): what stood in the main line before `sp`."""
    wanted = list(places)
    found: dict[int, dict[int, int]] = {}
    for (room_nid, key_nid, _), nid in (await room_state.replaced(conn, wanted)).items() if wanted else ():
        found.setdefault(room_nid, {})[key_nid] = nid
    return found
