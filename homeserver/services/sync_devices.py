"""Whose devices a client must look at again: those that changed, and of users who came into or out of sight.

[cs "Tracking the device list for a user"]
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen

from homeserver.services.room_parts import RoomPart
from homeserver.services.sync_request import SyncRequest
from storage import user_news
from storage.database import Connection
from storage.events import StoredEvent
from storage.state_keys import StateKeys


@define
class Movements:
    """Users who came into rooms that the reader is in, and who left them."""

    came: set[int] = field(factory=set)
    went: set[int] = field(factory=set)
    entered: set[int] = field(factory=set)  # rooms that the reader came into
    abandoned: set[int] = field(factory=set)  # rooms that the reader left


def movements(parts: Iterable[RoomPart], replaced: Mapping[int, StoredEvent]) -> Movements:
    """Who moved, by what the parts tell."""
    found = Movements()
    for part in parts:
        if not part.joined:
            found.abandoned.add(part.room_nid)
        elif part.anew:
            found.entered.add(part.room_nid)
        for stored in (*part.state, *part.events):
            if stored.event.type != "m.room.member" or stored.key_nid is None or part.anew:
                continue
            before = replaced.get(stored.nid)
            if stored.event.membership != "join":
                found.went.add(stored.key_nid)
            elif before is None or before.event.membership != "join":
                found.came.add(stored.key_nid)
    return found


@frozen
class SyncDevices:
    """Writes `device_lists`."""

    state_keys: StateKeys

    async def lists(
        self,
        conn: Connection,
        request: SyncRequest,
        joined: Sequence[int],
        moved: Movements,
        *,
        changed: bool,
    ) -> dict[str, Any]:
        """The section, empty where there is nothing to tell. A client that starts anew needs none."""
        if request.since is None:
            return {}
        me = request.user.user_nid
        changes: set[int] = set()
        if changed:
            changes |= set(await user_news.device_list_changes(conn, me, joined, request.position))
        came, went = set(moved.came), set(moved.went)
        if moved.entered:
            came |= await user_news.joined_members(conn, moved.entered)
        if moved.abandoned:
            went |= await user_news.joined_members(conn, moved.abandoned)
        came.discard(me)
        went.discard(me)
        shared = await user_news.still_shared(conn, joined, came | went) if came or went else set()
        return await self._named(conn, changes | (came & shared), went - shared)

    async def _named(self, conn: Connection, changed: set[int], left: set[int]) -> dict[str, Any]:
        if not changed and not left:
            return {}
        names = await self.state_keys.user_ids(conn, changed | left)
        return {
            "changed": sorted(names[nid] for nid in changed),
            "left": sorted(names[nid] for nid in left),
        }
