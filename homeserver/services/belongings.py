"""What a room has here goes along to the room that replaces it: our aliases, users' tags, direct chats, push rules.

The specification leaves this to clients and servers [cs "Room upgrades"]; a client that is not running cannot do it.
"""

from typing import Any

from attrs import evolve, frozen

from homeserver.core.auth.state import CREATE
from homeserver.core.push.rules import Place as RulePlace
from homeserver.services.account_data import TAG, AccountDataStore, Place
from homeserver.services.push_rules import Owner, PushRules
from homeserver.services.timeline import Timeline
from storage import directory
from storage.account_data import GLOBAL, find_account_data, room_nid_of
from storage.current_events import of_keys
from storage.database import Connection

DIRECT = "m.direct"
ROOM_RULES = "room"
_TOMBSTONE = ("m.room.tombstone", "")


@frozen
class Belongings:
    """Carries settings over."""

    timeline: Timeline
    store: AccountDataStore
    rules: PushRules

    async def bring(self, owner: Owner, room_id: str) -> None:
        """Copy what `owner` had set for the room that this one replaces, where both say that it does."""
        named = await self._named(room_id)
        if named is None:
            return
        async with self.store.database.read() as conn:
            old_room_id = named if await self._is_replaced(conn, named, room_id) else None
            tags = None if old_room_id is None else await _tags(conn, owner, old_room_id, room_id)
            direct = await find_account_data(conn, owner.user_nid, GLOBAL, DIRECT)
        if old_room_id is None:
            return
        await self._bring_listing(old_room_id, room_id)
        place = Place(user_id=owner.user_id, user_nid=owner.user_nid, room_id=room_id, kind=TAG)
        if tags:
            await self.store.change(place, lambda now: now or tags)
        if direct and _with_successor(direct, old_room_id, room_id) != direct:
            everywhere = evolve(place, room_id=None, kind=DIRECT)
            await self.store.change(everywhere, lambda now: _with_successor(now, old_room_id, room_id))
        await self._bring_rule(owner, old_room_id, room_id)

    async def _bring_listing(self, old_room_id: str, room_id: str) -> None:
        """Our aliases, and its place in our directory: a user who replaces it elsewhere cannot move these."""
        old, new = [(await self.timeline.head(one)).room.nid for one in (old_room_id, room_id)]
        async with self.store.database.read() as conn:
            listed = await directory.aliases_of(conn, old) or await directory.is_published(conn, old)
        if listed:
            async with self.store.database.transaction() as conn:
                await directory.move_aliases(conn, old, new)
                await directory.move_publication(conn, old, new)

    async def _bring_rule(self, owner: Owner, old_room_id: str, room_id: str) -> None:
        known = {rule.rule_id: rule for rule in (await self.rules.of(owner)).kinds.get(ROOM_RULES, ())}
        if old_room_id in known and room_id not in known:
            rule = evolve(known[old_room_id], rule_id=room_id)
            await self.rules.put(owner, ROOM_RULES, rule, RulePlace())

    async def _named(self, room_id: str) -> str | None:
        """The room that this one says it replaces; nearly none does, and the head of one just entered knows that."""
        heads = self.timeline.heads
        head = await self.timeline.head(room_id)
        await heads.ensure(head, [CREATE])
        create = head.event(CREATE)
        predecessor = create.content.get("predecessor") if create is not None else None
        old_room_id = predecessor.get("room_id") if isinstance(predecessor, dict) else None
        return old_room_id if isinstance(old_room_id, str) and "\0" not in old_room_id else None

    async def _is_replaced(self, conn: Connection, old_room_id: str, room_id: str) -> bool:
        """Does the old room say so, too? A room alone could claim to replace any."""
        reader = self.timeline.writing.reader
        old = await reader.rooms.find(conn, old_room_id)
        tombstone = {} if old is None else await of_keys(conn, reader, old.nid, [_TOMBSTONE])
        return bool(tombstone) and tombstone[_TOMBSTONE].event.content.get("replacement_room") == room_id


async def _tags(conn: Connection, owner: Owner, old_room_id: str, room_id: str) -> dict[str, Any] | None:
    """Those of the old room, unless the new one has some already."""
    old, new = await room_nid_of(conn, old_room_id), await room_nid_of(conn, room_id)
    if old is None or new is None or await find_account_data(conn, owner.user_nid, new, TAG):
        return None
    return await find_account_data(conn, owner.user_nid, old, TAG)


def _with_successor(direct: dict[str, Any], old_room_id: str, room_id: str) -> dict[str, Any]:
    return {
        user_id: [*rooms, room_id]
        if isinstance(rooms, list) and old_room_id in rooms and room_id not in rooms
        else rooms
        for user_id, rooms in direct.items()
    }
