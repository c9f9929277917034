"""Whose devices a client must look at again: those that changed, and of users who came into or out of sight.

Movements are read from the main lines of rooms, not from what is told of them: filters and lazy loading hide members.
[cs "Tracking the device list for a user"]
"""

from collections.abc import Iterable, Mapping, Sequence

from attrs import define, field, frozen

from homeserver.core.tokens import SyncToken
from homeserver.services.room_parts import JOIN, RoomPart
from homeserver.services.sync_request import SyncRequest
from storage import timelines, user_news
from storage.database import Connection, Database
from storage.events import EventReader, StoredEvent
from storage.state_keys import StateKeys
from storage.streams import current_position

ENDLESS = 2**31 - 1  # of rooms that the reader left: who left them later has gone out of sight all the same

Lists = dict[str, list[str]]


@frozen
class Sights:
    """Device lists to be told, and who is in no room of the reader any more, though they may be invited."""

    lists: Lists = field(factory=dict)
    gone: Sequence[str] = ()


@define
class Movements:
    """Users who came into rooms that the reader is in, and who left them."""

    came: set[int] = field(factory=set)
    invited: set[int] = field(factory=set)
    went: set[int] = field(factory=set)
    entered: set[int] = field(factory=set)  # rooms that the reader came into
    abandoned: set[int] = field(factory=set)  # rooms that the reader left

    def take(self, reader_nid: int, room_nid: int, user_nid: int, memberships: Sequence[str]) -> None:
        """What a member was before, in between, and is now. Who was away in between may have missed something."""
        before, after = memberships[0], memberships[-1]
        if after == "invite" != before and user_nid != reader_nid:
            self.invited.add(user_nid)
        if (before == "join" and all(one == "join" for one in memberships)) or "join" not in (before, after):
            return
        if user_nid == reader_nid:
            (self.entered if after == "join" else self.abandoned).add(room_nid)
        else:
            (self.came if after == "join" else self.went).add(user_nid)


@frozen
class SyncDevices:
    """Writes `device_lists`, and knows who came and went."""

    reader: EventReader
    state_keys: StateKeys

    async def movements(self, conn: Connection, request: SyncRequest, parts: Iterable[RoomPart]) -> Movements:
        """Who came and went in an answer's rooms; of no interest to a client that starts anew."""
        if request.since is None:
            return Movements()
        entered = {part.room_nid for part in parts if part.anew and part.joined}
        stretches = [
            (part.room_nid, part.low_sp, part.high_sp if part.joined else ENDLESS)
            for part in parts
            if part.high_sp > part.low_sp and not part.anew
        ]
        moved = await self._moved(conn, request.user.user_nid, stretches)
        moved.entered |= entered
        return moved

    async def lists(
        self,
        conn: Connection,
        request: SyncRequest,
        joined: Sequence[int],
        moved: Movements,
        *,
        changed: bool,
    ) -> Lists:
        """The section, empty where there is nothing to tell. A client that starts anew needs none."""
        if request.since is None:
            return {}
        told = await self._told(
            conn, request.user.user_nid, joined, moved, request.position if changed else None
        )
        return told.lists

    async def since(self, conn: Connection, user_nid: int, position: int) -> Lists:
        """The same without a sync: everything since a position [cs "GET /keys/changes"]."""
        rows = await user_news.rooms(conn, user_nid, position, left=True)
        joined = [row.room_nid for row in rows if row.membership == JOIN]
        moving = {row.room_nid: row.head_sp for row in rows if (row.head_position or 0) > position}
        sights = await self.between(conn, user_nid, joined, moving, position)
        return {"changed": [], "left": [], **sights.lists}

    async def between(
        self,
        conn: Connection,
        user_nid: int,
        joined: Sequence[int],
        moving: dict[int, int],
        position: int,
    ) -> Sights:
        """Everything since a position. `moving`: rooms in which something has happened since, and their last sp."""
        lows = await timelines.line_ends(conn, dict.fromkeys(moving, position))
        ends = moving | dict.fromkeys(moving.keys() - set(joined), ENDLESS)
        moved = await self._moved(conn, user_nid, [(nid, lows.get(nid, 0), sp) for nid, sp in ends.items()])
        return await self._told(conn, user_nid, joined, moved, position)

    async def _moved(
        self, conn: Connection, user_nid: int, stretches: Sequence[tuple[int, int, int]]
    ) -> Movements:
        moved = Movements()
        if not stretches:
            return moved
        changes = await user_news.member_changes(conn, stretches)
        nids = {nid for _, _, entries in changes for nid in entries if nid is not None}
        events = await self.reader.by_nids(conn, nids) if nids else {}
        for room_nid, key_nid, entries in changes:
            moved.take(user_nid, room_nid, key_nid, [_membership(events, nid) for nid in entries])
        return moved

    async def _told(
        self, conn: Connection, me: int, joined: Sequence[int], moved: Movements, since: int | None
    ) -> Sights:
        changes: set[int] = set()
        if since is not None:
            changes |= set(await user_news.device_list_changes(conn, me, joined, since))
        came, went = set(moved.came), set(moved.went)
        if moved.entered:
            came |= await user_news.joined_members(conn, moved.entered)
        if moved.abandoned:
            went |= await user_news.joined_members(conn, moved.abandoned)
        came.discard(me)
        went.discard(me)
        moving = came | went | moved.invited
        shared = await user_news.sharing(conn, joined, moving) if moving else {}
        here = {nid for nid, joins in shared.items() if joins}
        # Clients encrypt for who is invited, too, where the history will be theirs to read.
        changes |= (came & here) | (moved.invited & shared.keys())
        return await self._named(conn, changes, went - here)

    async def _named(self, conn: Connection, changed: set[int], gone: set[int]) -> Sights:
        if not changed and not gone:
            return Sights()
        names = await self.state_keys.user_ids(conn, changed | gone)
        lists = {
            "changed": sorted(names[nid] for nid in changed),
            "left": sorted(names[nid] for nid in gone - changed),
        }
        return Sights(
            {name: users for name, users in lists.items() if users}, sorted(names[nid] for nid in gone)
        )


@frozen
class KeyChanges:
    """Tells a client whose keys changed while it was away."""

    database: Database
    devices: SyncDevices

    async def since(self, user_nid: int, token: SyncToken) -> Lists:
        """Everything up to now, also what came after the client's second token: it may hear of that twice."""
        async with self.database.read(snapshot=True) as conn:
            now = await current_position(conn)
            return await self.devices.since(conn, user_nid, min(token.position, now))


def _membership(events: Mapping[int, StoredEvent], nid: int | None) -> str:
    stored = events.get(nid) if nid is not None else None
    return "" if stored is None else stored.event.membership or ""
