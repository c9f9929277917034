"""Those of our users in a room whose push rules differ from the predefined ones there, in groups of equal rules.

An audience lives on its room's head and is as fresh: steps tell it who enters and leaves, the rule book whose rules
have changed. Everybody else has the predefined rules and need not be known, unless mentions are looked for in what
messages say: then everybody's name is.
"""

import asyncio
from collections.abc import Collection, Iterable

from attrs import define, field

from homeserver.core.push.evaluate import CompiledRules, Selected, select
from homeserver.core.push.names import NamedPeople
from homeserver.services.push_rule_book import PushRuleBook
from storage import push_rules
from storage.database import Database
from storage.room_batches import MEMBERSHIPS, MembershipChange

JOIN = MEMBERSHIPS["join"]
SORTED_AT_ONCE = 20  # users' rules, a fraction of a millisecond each, before others get their turn


@define(eq=False)
class Group:
    """Users whose rules come to the same in the room, unless an event names one of them."""

    rules: CompiledRules
    users: dict[int, str] = field(factory=dict)  # user_nid -> user id


@define(eq=False)
class Audience:
    """The groups of one room. `pending` have entered it, or changed their rules, since they were sorted.

    `people` are found by their names where mentions are looked for in texts; `unnamed`: whose name is to be read.
    """

    seen: int
    people: NamedPeople | None = None
    groups: dict[bytes, Group] = field(factory=dict)
    pending: set[int] = field(factory=set)
    unnamed: set[int] = field(factory=set)
    _group_of: dict[int, bytes] = field(factory=dict)

    def moved(self, changes: Iterable[MembershipChange], book: PushRuleBook) -> None:
        """Users of ours have entered or left."""
        for change in changes:
            if change.membership != JOIN:
                self.remove(change.user_nid)
                self.pending.discard(change.user_nid)
            elif book.has_own(change.user_nid) and change.user_nid not in self._group_of:
                self.pending.add(change.user_nid)
            if self.people is not None:
                self.unnamed.add(change.user_nid)

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
        """Put a user with these rules, which are not the predefined ones, where they belong."""
        self.remove(user_nid)
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
    general: CompiledRules = field(init=False)  # of nobody in particular

    @general.default
    def _compiled(self) -> CompiledRules:
        return self.book.general.compiled()

    def new(self) -> Audience:
        """That of a room nobody is in yet."""
        return Audience(self.book.changes, NamedPeople() if self.book.predefined.in_text else None)

    async def current(self, audience: Audience | None, room_nid: int, room_id: str) -> Audience:
        """The audience of a room, whose writes are all in the database where there is none yet."""
        if self.book.is_stale:
            await self.book.renew()
        if audience is not None and audience.seen == self.book.changes and not audience.pending:
            return audience
        changed = None if audience is None else self.book.changed_since(audience.seen)
        if audience is None or changed is None:
            audience = self.new()
            async with self.database.read() as conn:
                audience.pending.update(await push_rules.of_members(conn, room_nid))
                if audience.people is not None:
                    audience.unnamed.update(await push_rules.members(conn, room_nid))
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
            selected = select(rules, room_id, personal=False)
            if selected.key == self.book.general.key:
                audience.remove(user_nid)
            else:
                audience.put(user_nid, user_id, selected)
            if count % SORTED_AT_ONCE == 0:
                await asyncio.sleep(0)
        audience.pending.clear()

    async def personal(self, users: Collection[tuple[int, str]]) -> dict[int, CompiledRules]:
        """The whole rules of users whom an event names."""
        own = await self.book.rules([nid for nid, _ in users if self.book.has_own(nid)])
        return {
            nid: select(own[nid][1]).compiled() if nid in own else self.book.unchanged(user_id)
            for nid, user_id in users
        }
