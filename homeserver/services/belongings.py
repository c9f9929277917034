"""What a user has set for a room goes along to the room that replaces it: tags, direct chats, a push rule.

The specification leaves this to clients and servers [cs "Room upgrades"]; a client that is not running cannot do it.
"""

from typing import Any

from attrs import evolve, frozen

from homeserver.core.auth.state import CREATE
from homeserver.core.push.rules import Place as RulePlace
from homeserver.services.account_data import TAG, AccountDataStore, Place
from homeserver.services.push_rules import Owner, PushRules
from storage.account_data import GLOBAL, find_account_data, room_nid_of
from storage.current_events import of_keys
from storage.database import Connection
from storage.events import EventReader

DIRECT = "m.direct"
ROOM_RULES = "room"
_TOMBSTONE = ("m.room.tombstone", "")


@frozen
class Belongings:
    """Carries settings over."""

    reader: EventReader
    store: AccountDataStore
    rules: PushRules

    async def bring(self, owner: Owner, room_id: str) -> None:
        """Copy what `owner` had set for the room that this one replaces, where both say that it does."""
        async with self.store.database.read() as conn:
            old_room_id = await self._predecessor(conn, room_id)
            tags = None if old_room_id is None else await _tags(conn, owner, old_room_id, room_id)
            direct = await find_account_data(conn, owner.user_nid, GLOBAL, DIRECT)
        if old_room_id is None:
            return
        place = Place(user_id=owner.user_id, user_nid=owner.user_nid, room_id=room_id, kind=TAG)
        if tags:
            await self.store.change(place, lambda now: now or tags)
        if direct and _with_successor(direct, old_room_id, room_id) != direct:
            everywhere = evolve(place, room_id=None, kind=DIRECT)
            await self.store.change(everywhere, lambda now: _with_successor(now, old_room_id, room_id))
        await self._bring_rule(owner, old_room_id, room_id)

    async def _bring_rule(self, owner: Owner, old_room_id: str, room_id: str) -> None:
        known = {rule.rule_id: rule for rule in (await self.rules.of(owner)).kinds.get(ROOM_RULES, ())}
        if old_room_id in known and room_id not in known:
            rule = evolve(known[old_room_id], rule_id=room_id)
            await self.rules.put(owner, ROOM_RULES, rule, RulePlace())

    async def _predecessor(self, conn: Connection, room_id: str) -> str | None:
        """The room that this one replaces; a room alone could claim to replace any."""
        room = await self.reader.rooms.find(conn, room_id)
        create = {} if room is None else await of_keys(conn, self.reader, room.nid, [CREATE])
        predecessor = create[CREATE].event.content.get("predecessor") if create else None
        old_room_id = predecessor.get("room_id") if isinstance(predecessor, dict) else None
        if not isinstance(old_room_id, str) or "\0" in old_room_id:
            return None
        old = await self.reader.rooms.find(conn, old_room_id)
        tombstone = {} if old is None else await of_keys(conn, self.reader, old.nid, [_TOMBSTONE])
        if not tombstone or tombstone[_TOMBSTONE].event.content.get("replacement_room") != room_id:
            return None
        return old_room_id


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
