"""Those of our users in a room whose push rules differ from the predefined ones there, in groups of equal rules.

An audience lives on its room's head and is as fresh: steps tell it who enters and leaves, the rule book whose rules
have changed. Everybody else has the predefined rules and need not be known.
"""

import asyncio
from collections.abc import Collection, Iterable

from attrs import define, field

from homeserver.core.push.evaluate import CompiledRules, Selected, select
from homeserver.core.push.rules import default_rules
from homeserver.services.push_rule_book import PushRuleBook
from storage import push_rules
from storage.database import Database
from storage.room_batches import MEMBERSHIPS, MembershipChange

JOIN = MEMBERSHIPS["join"]
SORTED_AT_ONCE = 20  # users' rules, a fraction of a millisecond each, before others get their turn
# Rules of nobody in particular: the predefined ones, but for those that are about the user.
GENERAL = select(default_rules("@:"), personal=False)


@define(eq=False)
class Group:
    """Users whose rules come to the same in the room, unless an event names one of them."""

    rules: CompiledRules
    users: dict[int, str] = field(factory=dict)  # user_nid -> user id


@define(eq=False)
class Audience:
    """The groups of one room. `pending` have entered it, or changed their rules, since they were sorted."""

    seen: int
    groups: dict[bytes, Group] = field(factory=dict)
    pending: set[int] = field(factory=set)
    _group_of: dict[int, bytes] = field(factory=dict)

    def moved(self, changes: Iterable[MembershipChange], book: PushRuleBook) -> None:
        """Users of ours have entered or left."""
        for change in changes:
            if change.membership != JOIN:
                self.remove(change.user_nid)
                self.pending.discard(change.user_nid)
            elif book.has_own(change.user_nid) and change.user_nid not in self._group_of:
                self.pending.add(change.user_nid)

    def __contains__(self, user_nid: int) -> bool:
        return user_nid in self._group_of

    def remove(self, user_nid: int) -> None:
        """Take a user out of the groups."""
        key = self._group_of.pop(user_nid, None)
        if key is None:
            return
        group = self.groups[key]
        del group.users[user_nid]
        if not group.users:
            del self.groups[key]

    def put(self, user_nid: int, user_id: str, selected: Selected) -> None:
        """Put a user with these rules where they belong: nowhere, if they are the predefined ones."""
        self.remove(user_nid)
        if selected.key == GENERAL.key:
            return
        group = self.groups.get(selected.key)
        if group is None:
            group = self.groups[selected.key] = Group(selected.compiled())
        group.users[user_nid] = user_id
        self._group_of[user_nid] = selected.key


@define(eq=False)
class Audiences:
    """Reads audiences, and keeps them as fresh as the rules."""

    database: Database
    book: PushRuleBook

    async def current(self, audience: Audience | None, room_nid: int, room_id: str) -> Audience:
        """The audience of a room, whose writes are all in the database where there is none yet."""
        if self.book.is_stale:
            await self.book.renew()
        if audience is not None and audience.seen == self.book.changes and not audience.pending:
            return audience
        changed = None if audience is None else self.book.changed_since(audience.seen)
        if audience is None or changed is None:
            audience = Audience(self.book.changes)
            async with self.database.read() as conn:
                audience.pending.update(await push_rules.of_members(conn, room_nid))
        elif changed:
            async with self.database.read() as conn:
                present = await push_rules.members_among(conn, room_nid, changed)
            audience.pending |= present | {nid for nid in changed if nid in audience}
        audience.seen = self.book.changes
        await self._sort(audience, room_id)
        return audience

    async def _sort(self, audience: Audience, room_id: str) -> None:
        found = await self.book.rules(audience.pending)
        for count, (user_nid, (user_id, rules)) in enumerate(found.items(), start=1):
            audience.put(user_nid, user_id, select(rules, room_id, personal=False))
            if count % SORTED_AT_ONCE == 0:
                await asyncio.sleep(0)
        audience.pending.clear()

    async def personal(self, users: Collection[tuple[int, str]]) -> dict[int, CompiledRules]:
        """The whole rules of users whom an event names."""
        own = await self.book.rules([nid for nid, _ in users if self.book.has_own(nid)])
        return {
            nid: select(own[nid][1]).compiled() if nid in own else self.book.predefined(user_id)
            for nid, user_id in users
        }
